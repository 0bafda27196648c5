"""What accounts buy: plans, subscriptions, credit packs, and adjustments by hand (mission rule 8).

Optional CSV files in the directory's folder. Days are UTC, validity is [valid_from, valid_to), an empty cell is
open-ended. Columns in parentheses may be missing.

======================  ====================================================================================
``plans.csv``           plan_id, name, currency, price, interval (month | year), credits, (valid_from),
                        (valid_to); several rows of one plan are its versions
``subscriptions.csv``   subscription_id, account_id, plan_id, anchor, (ended_on), (quantity), (recharge_below),
                        (recharge_credits), (recharge_price), (recharges, observed | simulated)
``purchases.csv``       purchase_id, account_id, bought_at, kind (pack | recharge | goodwill), credits, price,
                        currency
``adjustments.csv``     adjustment_id, account_id, date, amount, currency, taxable, reason
======================  ====================================================================================

``files`` reads and checks them; ``model`` says what is due when.
"""

from __future__ import annotations

from etl.products.files import load
from etl.products.model import Products

__all__ = ["Products", "load"]
