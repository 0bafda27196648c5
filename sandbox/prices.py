"""What the sandbox provider charges. Every amount is an integer of micro-USD (1e-6 USD); nothing here is a float."""

SMS_PER_SEGMENT = 8_300
MMS_OUTBOUND = 22_000
MMS_INBOUND = 16_500
FAILED_MESSAGE_FEE = 1_000
CALL_OUTBOUND_PER_MINUTE = 14_000
CALL_INBOUND_PER_MINUTE = {"local": 8_500, "tollfree": 22_000}
MACHINE_DETECTION_PER_CALL = 7_500
RECORDING_PER_MINUTE = 2_500
RECORDING_STORAGE_PER_MINUTE_DAY = 20
VIDEO_PER_PARTICIPANT_MINUTE = 4_000
NUMBER_PER_MONTH = {"local": 1_150_000, "tollfree": 2_150_000}

CARRIERS = ("AT&T", "T-Mobile", "Verizon", "US Cellular", "Other")
"""Named as in tables of carrier fees. The tens digit of the last two digits of a contact's number says which (see
`carrier_of`), which is this sandbox's own rule: no real number belongs to anybody here."""

CARRIER_OF_TENS = (0, 0, 0, 1, 1, 1, 2, 2, 3, 4)

SMS_FEE_PER_SEGMENT = {
    "registered": (3_000, 3_500, 4_500, 5_000, 2_500),
    "unregistered": (10_000, 6_500, 8_000, 5_000, 4_000),
    "tollfree": (3_000, 3_000, 4_000, 5_000, 2_500),
}
MMS_FEE = {
    "registered": (10_000, 7_000, 12_500, 10_000, 5_000),
    "unregistered": (16_000, 11_500, 17_500, 10_000, 7_500),
    "tollfree": (10_000, 7_000, 12_500, 10_000, 5_000),
}


def carrier_of(number_e164: str) -> int:
    """Index into CARRIERS of the carrier that serves a contact's number: a rule on the last two digits."""
    return CARRIER_OF_TENS[int(number_e164[-2])]


def usd(micros: int) -> str:
    """Micro-USD as the provider writes money: a string with at least five decimals ('0.00830')."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), 1_000_000)
    digits = f"{rest:06d}"
    return f"{sign}{whole}.{digits[:5] if digits[5] == '0' else digits}"


def minutes(seconds: int) -> int:
    """Started minutes of a duration in seconds."""
    return -(-seconds // 60)
