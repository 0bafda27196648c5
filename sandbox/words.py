"""Generated message texts. `{code}` becomes four digits that differ from row to row; the other blanks are filled once."""

import random

CODE = "\x00"
"""Stands for the four digits inside a text until a row is written."""

FIRST = ("Avery", "Blair", "Corin", "Devon", "Emery", "Farley", "Greer", "Hollis", "Indra", "Jules", "Kit", "Lane")
STREETS = ("Quarry Lane", "Tidewater Row", "Mosswood Court", "Lanternfish Way", "Old Orchard Road", "Pebble Terrace")
TIMES = ("9:00 am", "9:45 am", "10:30 am", "11:15 am", "1:30 pm", "2:15 pm", "4:00 pm", "5:45 pm")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")

OUTBOUND = {
    "acct_harbor": (
        "Hi {first}, the showing at {n} {street} is confirmed for {day} at {time}. Ref {code}",
        "{first}, your offer on {n} {street} was received. We will call you by {time}.",
        "Door code for {n} {street}: {code}. Please lock up when you leave.",
        "New listing near {street}: 3 bed, 2 bath. Reply YES for a tour.",
        "The inspection of {n} {street} is done. No surprises.",
        "Rent reminder: payment for unit {n} is due {day}. Reference {code}.",
    ),
    "acct_clinic": (
        "Reminder: {first}, you have an appointment on {day} at {time}. Reply C to confirm. Ref {code}",
        "Alder Street Clinic: your verification code is {code}",
        "{first}, your prescription is ready for pick-up after {time}.",
        "Your lab results are available in the portal. Questions? Call the nurse line.",
        "We moved your visit to {day} at {time}. Reply R to choose another slot.",
        "Statement {code} is ready. You can pay online or at the desk.",
    ),
    "acct_lantern": (
        "Thank you {first}! Your gift feeds {n} families this week. Receipt {code}",
        "Volunteers needed {day} at {time}, {street} pantry. Reply IN to join.",
        "{first}, your pick-up slot is {day} {time}. Show code {code} at the door.",
        "Food boxes are out at {street} until {time}.",
        "Van route {n} leaves at {time}. Please be early.",
    ),
}
LONG_TAIL = (
    " Parking is behind the building, the entrance is the green door, and the buzzer is the second from the top.",
    " If you cannot come, please tell us a day before so that somebody else can take the slot; there is a waiting list.",
    " Bring a photo ID and the paperwork we mailed, and allow twenty minutes for the forms at the front desk.",
    " You are receiving this because you asked us to keep you informed; reply STOP at any time and we will not write.",
)
EMOJI = ("🙂", "🎉", "🏡", "💚", "👍", "📅", "👩‍⚕️", "🥕")
ACCENTS = ("Señora Ibáñez", "Zoë", "Chloë Dvořák", "José Núñez", "Łucja", "Anaïs")
INBOUND = (
    "Yes",
    "ok thanks",
    "C",
    "Can we make it {time} instead?",
    "On my way, there in {n} min",
    "STOP",
    "Is {n} {street} still available?",
    "Who is this?",
    "thanks so much {emoji}",
    "I’m running late, sorry",
    "Running late - traffic on {street} is terrible today, please do not give my slot away",
    "IN",
    "My name is {accent}",
    "The code {code} does not work",
    "Could you send me the address again? I wrote it down on {day} but cannot find the note anywhere, and my phone "
    "was replaced since. Also please tell me whether I may bring my sister along, she has the car and would drive me.",
)
BROADCAST = {
    "acct_harbor": "Open house weekend! {n} homes around {street}, doors open {day} {time}. Reply STOP to opt out.",
    "acct_clinic": "Flu shots are available without appointment {day} from {time}. Reply STOP to opt out.",
    "acct_lantern": "Lantern’s {day} food drive needs you 💛 Bring a can to {street} by {time}. Reply STOP to opt out.",
}
REPLY = ("Thanks! We got your message and will answer soon.", "You are unsubscribed. No more messages will be sent.")


def _fill(template: str, pick: random.Random) -> str:
    return template.format(
        first=pick.choice(FIRST),
        n=pick.randrange(2, 99),
        street=pick.choice(STREETS),
        day=pick.choice(DAYS),
        time=pick.choice(TIMES),
        emoji=pick.choice(EMOJI),
        accent=pick.choice(ACCENTS),
        code=CODE,
    )


def outbound(account_id: str, pick: random.Random) -> str:
    """A text an account sends: mostly plain, some long, some with emoji, curly quotes, accents, extension characters."""
    text = _fill(pick.choice(OUTBOUND[account_id]), pick)
    style = pick.random()
    if style < 0.14:
        text += pick.choice(LONG_TAIL)
    elif style < 0.17:
        text += "".join(pick.sample(LONG_TAIL, 2))
    elif style < 0.23:
        text += " " + pick.choice(EMOJI)
    elif style < 0.25:
        text += pick.choice(LONG_TAIL) + " " + pick.choice(EMOJI)
    elif style < 0.30:
        text = text.replace("We ", "We’ll say it again: we ") if "We " in text else "“" + text + "”"
    elif style < 0.32:
        text = f"{pick.choice(ACCENTS)}: {text}"
    elif style < 0.335:
        text += " [see https://links.example/~r?a={1}|2] €10"
    return text


def inbound(pick: random.Random) -> str:
    return _fill(pick.choice(INBOUND), pick)


def broadcast(account_id: str, pick: random.Random) -> str:
    return _fill(BROADCAST[account_id], pick)


def reply(pick: random.Random) -> str:
    return pick.choice(REPLY)
