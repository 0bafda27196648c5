"""An independent second opinion on what was published: the page's figures found again from the files beside it.

It reads a folder and nothing else: neither the lake nor the settings, and none of the modules that drew the page, so
that a mistake in one of them cannot hide itself here.
"""
