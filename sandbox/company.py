"""The invented customer base: one provider account, three sub-accounts, their people, inboxes, numbers and campaigns.

All names of people and companies are made up; every phone number lies in a range kept for fiction (555-0100 .. 555-0199).
Identifiers and tokens are derived from names, so they are the same for every seed and no secret is stored in the tree.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import date

FIRST_DAY = date(2026, 3, 1)
"""First UTC day with traffic."""


def _hex(*parts: str) -> str:
    return hashlib.blake2b("\x1f".join(("tollbook-sandbox", *parts)).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Number:
    """A phone number the account rents. `holders` are (valid_from, owner_kind, owner_id), oldest first."""

    number: str
    holders: tuple[tuple[date, str, str], ...]
    number_class: str = "local"
    registered: bool = True
    campaign: str | None = None
    bought: date = date(2026, 2, 25)
    released: date | None = None
    listed: bool = True
    weight: int = 3
    monthly_price: str = ""
    """What the operator charges for it, if not the price of its class."""

    @property
    def sid(self) -> str:
        return "PN" + _hex("number", self.number)

    @property
    def pick(self) -> str:
        """Which pool of senders it belongs to; a price depends on the pool, never on the single number."""
        if self.campaign:
            return "campaign:" + self.campaign
        if self.number_class == "tollfree":
            return "tollfree"
        return "registered" if self.registered else "unregistered"

    def active(self, day: date) -> bool:
        return self.bought <= day and (self.released is None or day < self.released)

    def holder(self, day: date) -> tuple[str, str]:
        """(owner_kind, owner_id) on a UTC day; ('unassigned', '') for a number the directory does not list."""
        if not self.listed:
            return "unassigned", ""
        kind, owner = "unassigned", ""
        for since, holder_kind, holder_id in self.holders:
            if since <= day:
                kind, owner = holder_kind, holder_id
        return kind, owner


@dataclass(frozen=True)
class Campaign:
    campaign_id: str
    name: str
    voice_detection: bool
    weekdays: tuple[int, ...]
    """Weekdays (Monday = 0) on which it dials."""


@dataclass(frozen=True, eq=False)
class Account:
    index: int
    account_id: str
    name: str
    company: str
    email_to: str
    created: date
    area: str
    members: tuple[tuple[str, str], ...] = ()
    inboxes: tuple[tuple[str, str], ...] = ()
    campaigns: tuple[Campaign, ...] = ()
    numbers: tuple[Number, ...] = ()
    message_share: int = 0
    """Per mille of the company's messages."""
    call_share: int = 0
    weekday_permille: tuple[int, ...] = (1000,) * 7
    holidays: frozenset[date] = frozenset()
    broadcast_every: int = 0
    """About one day in this many is a broadcast day; 0 means never."""
    video_rooms: int = 0
    """Video consultations on a plain weekday, per mille."""
    service_address: str = ""
    """Jurisdiction, widest part first."""
    tax_exempt: str = ""
    children: tuple["Account", ...] = field(default=(), compare=False)

    @property
    def sid(self) -> str:
        return "AC" + _hex("account", self.account_id)

    @property
    def token(self) -> str:
        return _hex("token", self.account_id)

    @property
    def messaging_service_sid(self) -> str:
        return "MG" + _hex("service", self.account_id)


BOUGHT = date(2026, 2, 25)


def _member_numbers(area: str, members, *, unregistered: frozenset[str] = frozenset(), **changes) -> list[Number]:
    """One number for each member: 555-0101, 555-0102, ... `changes` overrides fields by member id."""
    found = []
    for place, (owner_id, _) in enumerate(members, 1):
        fields = {
            "number": f"+1{area}55501{place:02d}",
            "holders": ((BOUGHT, "member", owner_id),),
            "registered": owner_id not in unregistered,
            "weight": 2 + (place * 7) % 5,
        }
        found.append(Number(**{**fields, **changes.get(owner_id, {})}))
    return found


HARBOR_MEMBERS = (
    ("ada_quill", "Ada Quillfeather"),
    ("ben_sorrel", "Ben Sorrelwood"),
    ("cleo_marsh", "Cleo Marshbank"),
    ("dov_tallow", "Dov Tallowby"),
    ("esme_crane", "Esme Cranefold"),
    ("finn_harrow", "Finn Harrowgate"),
    ("gia_plum", "Gia Plumstead"),
    ("hugo_vane", "Hugo Vanewright"),
)
HARBOR_INBOXES = (("front_desk", "Front desk"), ("leads", "New leads"), ("maintenance", "Maintenance"))

CLINIC_MEMBERS = (
    ("ines_birch", "Ines Birchmoor"),
    ("jo_kettle", "Jo Kettlewell"),
    ("kai_lumen", "Kai Lumenfield"),
    ("lena_moss", "Lena Mossgrove"),
    ("milo_nettle", "Milo Nettleship"),
    ("nora_oak", "Nora Oakhollow"),
    ("otto_penn", "Otto Pennyfarrow"),
    ("pia_quarry", "Pia Quarryman"),
    ("rui_starling", "Rui Starlingdale"),
    ("tess_umber", "Tess Umberley"),
)
CLINIC_INBOXES = (
    ("reception", "Reception"),
    ("nurses", "Nurse line"),
    ("pharmacy", "Pharmacy desk"),
    ("billing", "Patient billing"),
)

LANTERN_MEMBERS = (
    ("ursa_vale", "Ursa Valecourt"),
    ("vik_wren", "Vik Wrenhaven"),
    ("willa_yarrow", "Willa Yarrowdale"),
    ("xan_zephyr", "Xan Zephyrine"),
    ("yara_ash", "Yara Ashbrook"),
    ("zeb_bracken", "Zeb Brackenridge"),
)
LANTERN_INBOXES = (("donors", "Donors"), ("volunteers", "Volunteers"))

HARBOR = Account(
    index=1,
    account_id="acct_harbor",
    name="Harbor & Pine Realty",
    company="Harbor & Pine Realty LLC",
    email_to="billing@harborpine.example",
    created=date(2026, 2, 24),
    area="206",
    members=HARBOR_MEMBERS,
    inboxes=HARBOR_INBOXES,
    campaigns=(
        Campaign("camp_openhouse", "Open house invitations", True, (1, 2, 3)),
        Campaign("camp_pricedrop", "Price drop calls", False, (0, 4)),
    ),
    numbers=(
        *_member_numbers(
            "206",
            HARBOR_MEMBERS,
            unregistered=frozenset({"dov_tallow"}),
            gia_plum={"holders": ((BOUGHT, "member", "gia_plum"), (date(2026, 8, 17), "member", "ben_sorrel"))},
        ),
        Number("+18885550121", ((BOUGHT, "inbox", "front_desk"),), "tollfree", weight=6, monthly_price="7.50"),
        Number("+12065550122", ((BOUGHT, "inbox", "leads"),), weight=8),
        Number("+12065550123", ((BOUGHT, "inbox", "maintenance"),), weight=5),
        Number("+12065550141", ((BOUGHT, "inbox", "leads"),), campaign="camp_openhouse"),
        Number("+12065550142", ((BOUGHT, "member", "esme_crane"),), campaign="camp_pricedrop"),
        Number("+12065550199", (), listed=False, weight=1),
    ),
    message_share=380,
    call_share=420,
    weekday_permille=(900, 1050, 1080, 1100, 1250, 1020, 600),
    broadcast_every=41,
    video_rooms=600,
    service_address="US-WA-SEATTLE",
)
CLINIC = Account(
    index=2,
    account_id="acct_clinic",
    name="Alder Street Clinic",
    company="Alder Street Clinic PC",
    email_to="accounts@alderclinic.example",
    created=date(2026, 2, 24),
    area="503",
    members=CLINIC_MEMBERS,
    inboxes=CLINIC_INBOXES,
    campaigns=(Campaign("camp_reminders", "Appointment reminders", True, (0, 1, 2, 3, 4)),),
    numbers=(
        *_member_numbers(
            "503",
            CLINIC_MEMBERS,
            unregistered=frozenset({"milo_nettle"}),
            tess_umber={"released": date(2026, 9, 15)},
        ),
        Number("+18775550131", ((BOUGHT, "inbox", "reception"),), "tollfree", weight=9),
        Number("+15035550132", ((BOUGHT, "inbox", "nurses"),), weight=8),
        Number("+15035550133", ((BOUGHT, "inbox", "pharmacy"),), weight=6),
        Number("+15035550134", ((BOUGHT, "inbox", "billing"),), weight=5),
        Number("+15035550151", ((BOUGHT, "inbox", "reception"),), campaign="camp_reminders"),
        Number("+15035550199", (), listed=False, weight=1),
    ),
    message_share=450,
    call_share=400,
    weekday_permille=(1500, 1400, 1350, 1300, 1200, 250, 0),
    holidays=frozenset({date(2026, 5, 25), date(2026, 7, 4), date(2026, 9, 7)}),
    video_rooms=3_600,
    service_address="US-OR-PORTLAND",
)
LANTERN = Account(
    index=3,
    account_id="acct_lantern",
    name="Lantern Food Relief",
    company="Lantern Food Relief Foundation",
    email_to="treasurer@lanternrelief.example",
    created=date(2026, 2, 25),
    area="312",
    members=LANTERN_MEMBERS,
    inboxes=LANTERN_INBOXES,
    campaigns=(Campaign("camp_pledge", "Pledge follow-up", False, (2,)),),
    numbers=(
        *_member_numbers(
            "312",
            LANTERN_MEMBERS,
            unregistered=frozenset({"vik_wren"}),
            zeb_bracken={"bought": date(2026, 6, 10), "holders": ((date(2026, 6, 10), "member", "zeb_bracken"),)},
        ),
        Number("+18665550161", ((BOUGHT, "inbox", "donors"),), "tollfree", weight=7),
        Number("+13125550162", ((BOUGHT, "inbox", "volunteers"),), weight=7),
        Number("+13125550171", ((BOUGHT, "inbox", "donors"),), campaign="camp_pledge"),
        Number("+13125550199", (), listed=False, weight=1),
    ),
    message_share=170,
    call_share=180,
    weekday_permille=(750, 800, 900, 950, 1000, 1400, 1200),
    broadcast_every=19,
    video_rooms=400,
    service_address="US-IL-CHICAGO",
    tax_exempt="all",
)

CUSTOMERS = (HARBOR, CLINIC, LANTERN)

MAIN = Account(
    index=0,
    account_id="northlight",
    name="Northlight Relay",
    company="Northlight Relay Inc",
    email_to="operations@northlight.example",
    created=date(2026, 2, 2),
    area="",
    children=CUSTOMERS,
)

ACCOUNTS = (MAIN, *CUSTOMERS)
BY_SID = {account.sid: account for account in ACCOUNTS}
BY_ID = {account.account_id: account for account in ACCOUNTS}

CONTACT_AREAS = (
    *("201", "203", "205", "207", "208", "209", "213", "214", "215", "216", "217", "218", "219", "224", "225", "228"),
    *("229", "231", "234", "239", "240", "248", "251", "252", "253", "254", "256", "260", "262", "267", "269", "270"),
)
"""Area codes of contacts; none is an area code of the accounts' own numbers."""


def find(name: str) -> Account:
    """An account by its SID or by its short id (`acct_harbor`)."""
    account = BY_SID.get(name) or BY_ID.get(name)
    if account is None:
        raise KeyError(f"no such account: {name!r} (have {', '.join(BY_ID)})")
    return account


def credentials() -> list[dict[str, str]]:
    """The accounts with the values to authenticate with; 'main' may read every sub-account."""
    return [
        {
            "account_id": a.account_id,
            "name": a.name,
            "kind": "subaccount" if a.index else "main",
            "sid": a.sid,
            "token": a.token,
        }
        for a in ACCOUNTS
    ]
