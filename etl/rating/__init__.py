"""Rate cards and look-ups; event → charge. Pure functions from frames to frames.

``card``   what the CSV files hold, and whether they can be trusted
``lookup`` dimensions and longest prefix → one row, as one binary search
``charge`` quantities, increments and amounts
"""
