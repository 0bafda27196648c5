"""Turns positions into records as the provider's API writes them: RFC 2822 dates, numbers as strings, prices negative;
for video ISO 8601 dates, numbers as numbers and no prices."""

from datetime import UTC, date, datetime
from functools import lru_cache

from sandbox import decks, prices, video
from sandbox.company import ACCOUNTS, MAIN, Account, Number
from sandbox.traffic import CALL, DIALLED, EPOCH, ROOM, SECONDS_PER_DAY, Clock, Position, World, clock_at

API = "2010-04-01"
VIDEO = "https://video.twilio.com/v1/Rooms"
SOFT_DELETED_SECONDS = 40 * SECONDS_PER_DAY
"""For so long after its deletion a recording's metadata is still there."""
CALL_PARTS = {
    "notifications": "Notifications",
    "recordings": "Recordings",
    "payments": "Payments",
    "events": "Events",
    "siprec": "Siprec",
    "streams": "Streams",
    "transcriptions": "Transcriptions",
    "user_defined_message_subscriptions": "UserDefinedMessageSubscriptions",
    "user_defined_messages": "UserDefinedMessages",
}


@lru_cache(maxsize=4096)
def _day_prefix(day: int) -> str:
    at = date.fromordinal(day + EPOCH)
    weekday = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[at.weekday()]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[at.month - 1]
    return f"{weekday}, {at.day:02d} {month} {at.year:04d} "


def rfc2822(moment: int) -> str:
    """Seconds since 1970 as 'Fri, 20 Nov 2026 23:59:58 +0000'."""
    day, second = divmod(moment, SECONDS_PER_DAY)
    return f"{_day_prefix(day)}{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d} +0000"


def _national(number: str) -> str:
    return f"({number[2:5]}) {number[5:8]}-{number[8:]}"


class Records:
    """Renders records of one world as seen at a moment: late prices and statuses depend on the clock."""

    def __init__(self, world: World) -> None:
        self.world = world

    # --- messages ---

    def message(self, at: Position, clock: Clock) -> dict:
        if at.stream != 0:
            return self._undated(at, clock)
        world, account = self.world, ACCOUNTS[at.account]
        plan = world.plan(0, account, date.fromordinal(at.day))
        tag, jitter, own_bits, contact_bits = world.draw(*at)
        card = plan.card(at.index)
        sent = plan.start + plan.second(at.index, jitter)
        settled = clock.now >= sent + decks.PRICE_DELAYS[card.delay]
        pool = plan.pools[card.pick]
        own = pool[(own_bits >> 8) % len(pool)].number
        contact = world.contact(contact_bits, card.tens)
        body = card.body[0]
        if len(card.body) == 2:
            body = f"{body}{contact_bits >> 32 & 0xFFFF_FFFF:010d}"[: len(body) + decks.CODE_WIDTH] + card.body[1]
        created = sent - (jitter >> 16) % 3 if card.with_service else sent
        charged = card.base + card.fee
        sid = world.sid_of("MM" if card.media else "SM", tag, *at)
        return self._message(
            account,
            sid,
            body=body,
            date_created=rfc2822(created),
            date_sent=rfc2822(sent),
            date_updated=rfc2822(sent + decks.PRICE_DELAYS[card.delay] if settled else sent),
            direction=card.direction,
            error_code=card.error_code if settled else None,
            sender=contact if card.inbound else own,
            to=own if card.inbound else contact,
            service=card.with_service,
            media=card.media,
            segments=card.segments,
            price="-" + prices.usd(charged) if settled and charged else None,
            status=card.status if settled else "sent",
        )

    def _undated(self, at: Position, clock: Clock) -> dict:
        world, account = self.world, ACCOUNTS[at.account]
        plan = world.plan(0, account, date.fromordinal(at.day))
        _, second, roll, contact_bits = world.draw(*at)
        created = plan.start + second % SECONDS_PER_DAY
        age = clock.now - created
        status = ("queued", "canceled", "accepted")[roll % 3] if at.index else "scheduled"
        until = {"canceled": 0, "scheduled": 3 * SECONDS_PER_DAY, "queued": 7_200, "accepted": 7_200}[status]
        if age >= until:
            status = "canceled"
        own = plan.pools["registered"][(roll >> 8) % len(plan.pools["registered"])].number
        return self._message(
            account,
            world.sid("SM", *at),
            body="Held back for now",
            date_created=rfc2822(created),
            date_sent=None,
            date_updated=rfc2822(created + min(age, until)),
            direction="outbound-api",
            error_code=None,
            sender=own if status == "canceled" else None,
            to=world.contact(contact_bits, contact_bits >> 20 & 7),
            service=True,
            media=0,
            segments=0,
            price=None,
            status=status,
        )

    def _message(self, account: Account, sid: str, *, sender, service, media, segments, **fields) -> dict:
        uri = f"/{API}/Accounts/{account.sid}/Messages/{sid}"
        return {
            "account_sid": account.sid,
            "api_version": API,
            "body": fields["body"],
            "date_created": fields["date_created"],
            "date_sent": fields["date_sent"],
            "date_updated": fields["date_updated"],
            "direction": fields["direction"],
            "error_code": fields["error_code"],
            "error_message": decks.ERRORS.get(fields["error_code"]),
            "from": sender,
            "messaging_service_sid": account.messaging_service_sid if service else None,
            "num_media": str(media),
            "num_segments": str(segments),
            "price": fields["price"],
            "price_unit": "USD",
            "sid": sid,
            "status": fields["status"],
            "subresource_uris": {"media": f"{uri}/Media.json", "feedback": f"{uri}/Feedback.json"},
            "to": fields["to"],
            "uri": f"{uri}.json",
        }

    # --- calls and recordings ---

    def call(self, at: Position, clock: Clock) -> dict:
        world, account = self.world, ACCOUNTS[at.account]
        plan = world.plan(CALL, account, date.fromordinal(at.day))
        card = plan.card(at.index)
        leg = card.legs[at.stream == DIALLED]
        _, _, own_bits, contact_bits = world.draw(CALL, at.account, at.day, at.index)
        pool = plan.pools[card.pick]
        own = pool[(own_bits >> 8) % len(pool)]
        contact = world.contact(contact_bits >> 3 if at.stream == CALL else contact_bits >> 23, contact_bits >> 40 & 7)
        start = world.leg_start(plan, at.index, leg)
        end = start + leg.ring + leg.talk
        over = clock.now >= end
        answered = clock.now >= start + leg.ring
        status = leg.status if over else "in-progress" if answered and leg.talk else "ringing"
        priced = leg.base is not None and clock.now >= end + decks.CALL_PRICE_DELAY
        sender, to = (contact, own.number) if leg.direction == "inbound" else (own.number, contact)
        sid = world.sid("CA", *at)
        uri = f"/{API}/Accounts/{account.sid}/Calls/{sid}"
        return {
            "account_sid": account.sid,
            "answered_by": leg.answered_by if over else None,
            "api_version": API,
            "caller_name": "",
            "date_created": rfc2822(start - leg.queue),
            "date_updated": rfc2822(end + decks.CALL_PRICE_DELAY if priced else end if over else start),
            "direction": leg.direction,
            "duration": str(leg.talk) if over else None,
            "end_time": rfc2822(end) if over else None,
            "forwarded_from": None,
            "from": sender,
            "from_formatted": _national(sender),
            "group_sid": None,
            "parent_call_sid": world.sid("CA", CALL, *at[1:]) if at.stream == DIALLED else None,
            "phone_number_sid": own.sid,
            "price": "-" + prices.usd(leg.base) if priced else None,
            "price_unit": "USD",
            "queue_time": str(leg.queue * 1000),
            "sid": sid,
            "start_time": rfc2822(start),
            "status": status,
            "subresource_uris": {key: f"{uri}/{part}.json" for key, part in CALL_PARTS.items()},
            "to": to,
            "to_formatted": _national(to),
            "trunk_sid": "",
            "uri": f"{uri}.json",
        }

    def recording(self, at: Position, clock: Clock) -> dict:
        """A recording as asked for with IncludeSoftDeleted; see `hidden`."""
        world, account = self.world, ACCOUNTS[at.account]
        plan = world.plan(CALL, account, date.fromordinal(at.day))
        card = plan.card(at.index)
        gone = self.deleted_at(at)
        deleted = gone is not None and gone <= clock.now
        made = plan.start + plan.second(at.index)
        seconds = card.legs[0].talk
        sid = world.sid("RE", *at)
        stored = card.recorded == "completed"
        uri = f"/{API}/Accounts/{account.sid}/Recordings/{sid}"
        return {
            "account_sid": account.sid,
            "api_version": API,
            "call_sid": world.sid("CA", CALL, *at[1:]),
            "channels": 2,
            "conference_sid": None,
            "date_created": rfc2822(made),
            "date_updated": rfc2822(gone if deleted else made + card.legs[0].ring + seconds),
            "duration": str(seconds) if stored else None,
            "encryption_details": None,
            "error_code": None,
            "media_url": f"https://api.twilio.com{uri}",
            "price": "-" + prices.usd(recording_price(seconds)) if stored else None,
            "price_unit": "USD",
            "sid": sid,
            "source": "DialVerb" if len(card.legs) == 2 else "StartCallRecordingAPI",
            "start_time": rfc2822(made),
            "status": "deleted" if deleted else card.recorded,
            "subresource_uris": {
                "add_on_results": f"{uri}/AddOnResults.json",
                "transcriptions": f"{uri}/Transcriptions.json",
            },
            "uri": f"{uri}.json",
        }

    def deleted_at(self, at: Position) -> int | None:
        """The moment a recording is deleted, if ever."""
        plan = self.world.plan(CALL, ACCOUNTS[at.account], date.fromordinal(at.day))
        kept = plan.card(at.index).kept
        return None if kept is None else plan.start + kept

    def hidden(self, at: Position, clock: Clock, include_deleted: bool) -> bool:
        """Whether a recording is not shown: deleted ones only on request, and some weeks later not even then."""
        gone = self.deleted_at(at)
        return gone is not None and clock.now >= gone + (SOFT_DELETED_SECONDS if include_deleted else 0)

    # --- video ---

    def room(self, at: Position, clock: Clock) -> dict:
        found, account = video.room_at(self.world, at), ACCOUNTS[at.account]
        over = found.end <= clock.now
        sid = self.world.sid("RM", *at)
        url = f"{VIDEO}/{sid}"
        parts = {
            "participants": "Participants",
            "recordings": "Recordings",
            "recording_rules": "RecordingRules",
            "transcriptions": "Transcriptions",
        }
        return {
            "account_sid": account.sid,
            "audio_only": False,
            "date_created": isoformat(found.created),
            "date_updated": isoformat(found.end if over else found.created),
            "duration": found.end - found.created if over else None,
            "empty_room_timeout": 5,
            "enable_turn": True,
            "end_time": isoformat(found.end) if over else None,
            "large_room": False,
            "links": {name: f"{url}/{part}" for name, part in parts.items()},
            "max_concurrent_published_tracks": 170,
            "max_participant_duration": 14_400,
            "max_participants": 50,
            "media_region": "us1",
            "record_participants_on_connect": False,
            "sid": sid,
            "status": "completed" if over else "in-progress",
            "status_callback": None,
            "status_callback_method": "POST",
            "type": "group",
            "unique_name": found.name,
            "unused_room_timeout": 5,
            "url": url,
            "video_codecs": ["VP8", "H264"],
        }

    def participant(self, at: Position, clock: Clock) -> dict:
        room = video.room_at(self.world, at)
        session = room.sessions[at.index % video.PLACES]
        over = session.end <= clock.now
        room_sid = self.world.sid("RM", ROOM, at.account, at.day, at.index // video.PLACES)
        sid = self.world.sid("PA", *at)
        url = f"{VIDEO}/{room_sid}/Participants/{sid}"
        parts = {
            "anonymize": "Anonymize",
            "published_tracks": "PublishedTracks",
            "subscribe_rules": "SubscribeRules",
            "subscribed_tracks": "SubscribedTracks",
        }
        return {
            "account_sid": ACCOUNTS[at.account].sid,
            "date_created": isoformat(session.start),
            "date_updated": isoformat(session.end if over else session.start),
            "duration": session.seconds if over else None,
            "end_time": isoformat(session.end) if over else None,
            "identity": session.identity,
            "links": {name: f"{url}/{part}" for name, part in parts.items()},
            "room_sid": room_sid,
            "sid": sid,
            "start_time": isoformat(session.start),
            "status": "disconnected" if over else "connected",
            "url": url,
        }

    # --- accounts and numbers ---

    def account(self, account: Account) -> dict:
        base = f"/{API}/Accounts/{account.sid}"
        parts = {
            "calls": "Calls",
            "incoming_phone_numbers": "IncomingPhoneNumbers",
            "messages": "Messages",
            "recordings": "Recordings",
            "usage": "Usage",
        }
        created = rfc2822(clock_at(account.created).now)
        return {
            "auth_token": account.token,
            "date_created": created,
            "date_updated": created,
            "friendly_name": account.name,
            "owner_account_sid": MAIN.sid,
            "sid": account.sid,
            "status": "active",
            "subresource_uris": {key: f"{base}/{part}.json" for key, part in parts.items()},
            "type": "Full",
            "uri": f"{base}.json",
        }

    def number(self, account: Account, number: Number) -> dict:
        bought = rfc2822(clock_at(number.bought).now)
        return {
            "account_sid": account.sid,
            "address_requirements": "none",
            "address_sid": None,
            "api_version": API,
            "beta": False,
            "bundle_sid": None,
            "capabilities": {"fax": False, "mms": True, "sms": True, "voice": True},
            "date_created": bought,
            "date_updated": bought,
            "emergency_address_sid": None,
            "emergency_address_status": "unregistered",
            "emergency_status": "Inactive",
            "friendly_name": _national(number.number),
            "identity_sid": None,
            "origin": "twilio",
            "phone_number": number.number,
            "sid": number.sid,
            "sms_application_sid": "",
            "sms_fallback_method": "POST",
            "sms_fallback_url": None,
            "sms_method": "POST",
            "sms_url": None,
            "status": "in-use",
            "status_callback": None,
            "status_callback_method": "POST",
            "trunk_sid": None,
            "type": "toll free" if number.number_class == "tollfree" else "local",
            "uri": f"/{API}/Accounts/{account.sid}/IncomingPhoneNumbers/{number.sid}.json",
            "voice_application_sid": "",
            "voice_caller_id_lookup": False,
            "voice_fallback_method": "POST",
            "voice_fallback_url": None,
            "voice_method": "POST",
            "voice_receive_mode": "voice",
            "voice_url": None,
        }


def recording_price(seconds: int) -> int:
    """Creation price of a recording in micro-USD."""
    return prices.minutes(seconds) * prices.RECORDING_PER_MINUTE


def isoformat(moment: int) -> str:
    """Seconds since 1970 as '2026-11-20T23:59:58Z'."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
