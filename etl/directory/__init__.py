"""Who owns which number, when: the directory files, and the attribution of events by them.

CSV files in one folder. Validity is [valid_from, valid_to) in UTC days; an empty cell is open-ended. Columns in
parentheses may be missing, and so may the files in parentheses.

======================  ====================================================================================
``accounts.csv``        account_id, name, company, currency, rate_card, email_to (``;`` between addresses),
                        provider_account_sid (``;`` between several), (locale), (valid_from),
                        (service_address), (tax_exempt, ``;`` between several)
``owners.csv``          account_id, owner_kind (member | inbox), owner_id, name, (identity)
``numbers.csv``         number_e164, account_id, owner_kind, owner_id, campaign_id, registered, number_class,
                        valid_from, valid_to, (monthly_price)
``campaigns.csv``       account_id, campaign_id, name, voice_detection, (valid_from), (valid_to)
(``carriers.csv``)      prefix_e164, carrier
(``places.csv``)        prefix_e164, jurisdiction
======================  ====================================================================================

``files`` reads and checks them; ``attribution`` says whose an event is.
"""

from __future__ import annotations

from etl.directory.attribution import Account, Directory, account_terms
from etl.directory.files import load
from etl.schemas import UNASSIGNED

__all__ = ["UNASSIGNED", "Account", "Directory", "account_terms", "load"]
