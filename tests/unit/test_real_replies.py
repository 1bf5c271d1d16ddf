"""Replies as real servers word them: whose fault, whether it is tried again, and what the fix names."""

from __future__ import annotations

import pytest

from outspool.api.errors import name_variables
from outspool.domain.cause import FIXES, Cause, find_cause
from outspool.domain.delivery import Verdict, classify, parse_reply
from outspool.domain.email import Reply
from outspool.domain.phase import Phase
from outspool.errors import TroubleKind

MAIL, RCPT, DATA, MESSAGE, CONNECT = Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.MESSAGE, Phase.CONNECT
REFUSED, RETRY = Verdict.REFUSED, Verdict.RETRY
THROTTLED, LOGIN, NETWORK = TroubleKind.THROTTLED, TroubleKind.LOGIN, TroubleKind.NETWORK


def parse(said: str) -> Reply:
    code, _, text = said.partition(" ")
    return parse_reply(int(code), text)


SENDER_FIX, LOGIN_FIX = "EMAIL_FROM", "SMTP_USERNAME and SMTP_PASSWORD"


@pytest.mark.parametrize(
    ("phase", "said", "means", "cause", "fix"),
    [
        # Exchange and Microsoft 365
        (
            MAIL,
            "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
            REFUSED,
            Cause.SENDER,
            SENDER_FIX,
        ),
        (
            MESSAGE,
            "554 5.2.252 SendAsDenied; ada@example.com not allowed to send as team@example.com; STOREDRV.Submission",
            REFUSED,
            Cause.SENDER,
            SENDER_FIX,
        ),
        (
            MESSAGE,
            "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed",
            REFUSED,
            Cause.SENDER,
            SENDER_FIX,
        ),
        (
            RCPT,
            "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
            REFUSED,
            Cause.LOGIN,
            LOGIN_FIX,
        ),
        (RCPT, "550 5.7.1 Unable to relay", REFUSED, Cause.LOGIN, LOGIN_FIX),
        (RCPT, "550 5.7.64 TenantAttribution; Relay Access Denied", REFUSED, Cause.LOGIN, LOGIN_FIX),
        (
            MAIL,
            "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
            LOGIN,
            Cause.LOGIN,
            LOGIN_FIX,
        ),
        (MESSAGE, "550 5.1.8 Access denied, bad outbound sender", THROTTLED, Cause.BLOCKED, "provider"),
        (MAIL, "550 5.7.501 Access denied, spam abuse detected", THROTTLED, Cause.BLOCKED, "provider"),
        (
            MESSAGE,
            "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message",
            THROTTLED,
            Cause.LIMIT,
            "by itself",
        ),
        (
            MESSAGE,
            "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
            THROTTLED,
            Cause.LIMIT,
            "by itself",
        ),
        (
            MAIL,
            "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP",
            THROTTLED,
            Cause.MACHINE,
            "another network",
        ),
        (
            RCPT,
            "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)",
            REFUSED,
            Cause.RECIPIENT,
            "address",
        ),
        (RCPT, "550 5.1.10 RESOLVER.ADR.RecipientNotFound", REFUSED, Cause.RECIPIENT, "address"),
        # Postfix
        (
            MAIL,
            "553 5.7.1 <team@example.com>: Sender address rejected: not owned by user ada",
            REFUSED,
            Cause.SENDER,
            SENDER_FIX,
        ),
        (
            RCPT,
            "553 5.7.1 <team@example.com>: Sender address rejected: not owned by user ada",
            REFUSED,
            Cause.SENDER,
            SENDER_FIX,
        ),
        (
            RCPT,
            "450 4.1.8 <ada@example.invalid>: Sender address rejected: Domain not found",
            RETRY,
            Cause.SENDER,
            SENDER_FIX,
        ),
        (
            RCPT,
            "550 5.1.0 <ada@example.com>: Sender address rejected: User unknown in virtual mailbox table",
            REFUSED,
            Cause.SENDER,
            SENDER_FIX,
        ),
        (RCPT, "554 5.7.1 <bob@example.org>: Relay access denied", REFUSED, Cause.LOGIN, LOGIN_FIX),
        (RCPT, "454 4.7.1 <bob@example.org>: Relay access denied", RETRY, Cause.LOGIN, LOGIN_FIX),
        (
            RCPT,
            "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.spamhaus.org; see https://x.test",
            THROTTLED,
            Cause.MACHINE,
            "another network",
        ),
        (
            RCPT,
            "450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.7]",
            THROTTLED,
            Cause.MACHINE,
            "another network",
        ),
        (
            RCPT,
            "550 5.1.1 undeliverable: host mx.example.org said: 554 5.7.1 Client host [192.0.2.9] blocked using x.test",
            REFUSED,
            Cause.RECIPIENT,
            "address",
        ),
        (
            RCPT,
            "550 5.1.1 <bob@example.org>: Recipient address rejected: User unknown in local recipient table",
            REFUSED,
            Cause.RECIPIENT,
            "address",
        ),
        (MAIL, "552 5.3.4 Message size exceeds fixed limit", REFUSED, Cause.SIZE, "smaller"),
        (
            RCPT,
            "450 4.7.1 <ada@example.com>: Sender address rejected: hourly quota exceeded",
            THROTTLED,
            Cause.LIMIT,
            "by itself",
        ),
        # Exim, also as cPanel sets it up
        (RCPT, "550 relay not permitted, authentication required", REFUSED, Cause.LOGIN, LOGIN_FIX),
        (RCPT, "550 Sender verify failed", REFUSED, Cause.SENDER, SENDER_FIX),
        (RCPT, "550 No Such User Here", REFUSED, Cause.RECIPIENT, "address"),
        (
            MESSAGE,
            "550 Domain example.com has exceeded the max emails per hour (100/100 (100%)) allowed.  Message discarded.",
            THROTTLED,
            Cause.LIMIT,
            "by itself",
        ),
        (
            MESSAGE,
            "550 This message was classified as SPAM and may not be delivered",
            REFUSED,
            Cause.CONTENT,
            "content",
        ),
        # Amazon SES
        (
            MESSAGE,
            "554 Message rejected: Email address is not verified. The following identities failed: team@example.com",
            REFUSED,
            Cause.SENDER,
            SENDER_FIX,
        ),
        (MESSAGE, "454 Throttling failure: Maximum sending rate exceeded.", THROTTLED, Cause.LIMIT, "by itself"),
        (MAIL, "454 Throttling failure: Daily message quota exceeded.", THROTTLED, Cause.LIMIT, "by itself"),
        (
            MESSAGE,
            "554 Message rejected: Sending paused for this account. For more information, please check the inbox",
            THROTTLED,
            Cause.BLOCKED,
            "provider",
        ),
        (MAIL, "530 Must issue a STARTTLS command first", LOGIN, Cause.ENCRYPTION, "SMTP_SECURITY=starttls"),
        # Gmail
        (MESSAGE, "550 5.4.5 Daily user sending limit exceeded", THROTTLED, Cause.LIMIT, "by itself"),
        (MESSAGE, "550 5.7.1 Daily SMTP relay limit exceeded for customer", THROTTLED, Cause.LIMIT, "by itself"),
        (
            MESSAGE,
            "552 5.7.0 This message was blocked because its content presents a potential security issue",
            REFUSED,
            Cause.CONTENT,
            "content",
        ),
        (
            MESSAGE,
            "550 5.7.26 The sender is unauthenticated. Gmail requires all senders to authenticate with SPF or DKIM.",
            REFUSED,
            Cause.SENDER_DOMAIN,
            SENDER_FIX,
        ),
        (
            RCPT,
            "550 5.2.1 The email account that you tried to reach is disabled",
            REFUSED,
            Cause.RECIPIENT,
            "address",
        ),
        (
            RCPT,
            "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents more",
            RETRY,
            Cause.RECIPIENT,
            "address",
        ),
        (RCPT, "452 4.2.2 The recipient's inbox is out of storage space.", RETRY, Cause.FULL, "room"),
        (MAIL, "552 5.2.3 Your message exceeded Google's message size limits.", REFUSED, Cause.SIZE, "smaller"),
        (MAIL, "550 5.7.1 Invalid credentials for relay [192.0.2.7]", REFUSED, Cause.LOGIN, LOGIN_FIX),
        # Fastmail
        (
            MESSAGE,
            "551 5.7.1 Not authorised to send from this header address",
            REFUSED,
            Cause.SENDER,
            SENDER_FIX,
        ),
        # iCloud
        (MAIL, "550 5.7.0 From address is not one of your addresses", REFUSED, Cause.SENDER, SENDER_FIX),
        (MESSAGE, "554 5.7.1 [CS01] Message rejected due to local policy.", REFUSED, Cause.CONTENT, "content"),
        # Yahoo and AOL
        (MESSAGE, "553 From address not verified - see https://help.yahoo.test/", REFUSED, Cause.SENDER, SENDER_FIX),
        (MESSAGE, "554 5.7.9 Message not accepted for policy reasons", REFUSED, Cause.CONTENT, "content"),
        # Zoho
        (MESSAGE, "553 Relaying disallowed as team@example.com", REFUSED, Cause.SENDER, SENDER_FIX),
        (
            MESSAGE,
            "550 5.4.6 Unusual sending activity detected. Please try after sometime.",
            THROTTLED,
            Cause.BLOCKED,
            "provider",
        ),
        (MESSAGE, "554 5.1.8 Email Outgoing Blocked.", THROTTLED, Cause.BLOCKED, "provider"),
        # Mailgun and SendGrid
        (
            DATA,
            "421 Domain sandbox1.mailgun.org is not allowed to send: Sandbox subdomains are for test purposes only.",
            THROTTLED,
            Cause.BLOCKED,
            "provider",
        ),
        (RCPT, "550 5.7.1 Relaying denied", REFUSED, Cause.LOGIN, LOGIN_FIX),
        (RCPT, "452 Too many recipients received this hour", THROTTLED, Cause.LIMIT, "by itself"),
        (
            MESSAGE,
            "550 The from address does not match a verified Sender Identity. Mail cannot be sent.",
            REFUSED,
            Cause.SENDER,
            SENDER_FIX,
        ),
        # Haraka
        (RCPT, "550 I cannot deliver mail for <bob@example.org>", REFUSED, Cause.LOGIN, LOGIN_FIX),
        # Sendmail
        (
            RCPT,
            "550 5.7.1 <bob@example.org>... Relaying denied. Proper authentication required.",
            REFUSED,
            Cause.LOGIN,
            LOGIN_FIX,
        ),
        (
            MAIL,
            "553 5.1.8 <ada@example.invalid>... Domain of sender address ada@example.invalid does not exist",
            REFUSED,
            Cause.SENDER,
            SENDER_FIX,
        ),
        (RCPT, "550 5.1.1 <bob@example.org>... User unknown", REFUSED, Cause.RECIPIENT, "address"),
        # GMX, qmail, hMailServer, SmarterMail, Cisco
        (
            MAIL,
            "550 Requested action not taken: mailbox unavailable Sender address is not allowed.",
            REFUSED,
            Cause.SENDER,
            SENDER_FIX,
        ),
        (
            RCPT,
            "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
            REFUSED,
            Cause.LOGIN,
            LOGIN_FIX,
        ),
        (RCPT, "550 Too many recipients.", RETRY, Cause.RECIPIENT_COUNT, "fewer"),
        (
            MAIL,
            "550 You are not allowed to use the domain hotmail.com as a sender domain.",
            REFUSED,
            Cause.SENDER,
            SENDER_FIX,
        ),
        (
            CONNECT,
            "554 Your access to this mail system has been rejected: IP 192.0.2.7 has a poor reputation",
            THROTTLED,
            Cause.MACHINE,
            "another network",
        ),
        (MAIL, "553 Not you", REFUSED, Cause.SENDER, SENDER_FIX),
        # unknown words: the codes decide, and nothing is claimed
        (MAIL, "550 5.0.0 Frobnicated", REFUSED, Cause.OTHER, "what the reply says"),
        (RCPT, "550 Frobnicated", REFUSED, Cause.RECIPIENT, "address"),
        (RCPT, "450 Frobnicated", RETRY, Cause.RECIPIENT, "address"),
        (MESSAGE, "554 Frobnicated", REFUSED, Cause.OTHER, "what the reply says"),
        (MESSAGE, "451 Frobnicated", RETRY, Cause.OTHER, "what the reply says"),
        # a filter's words about a message say nothing of the account or of this machine
        (
            MESSAGE,
            "554 5.7.1 Message contains a URL whose IP 192.0.2.1 is listed in a blocklist",
            REFUSED,
            Cause.CONTENT,
            "content",
        ),
    ],
)
def test_a_real_reply_means(*, phase: Phase, said: str, means: Verdict | TroubleKind, cause: Cause, fix: str) -> None:
    reply = parse(said)
    found = find_cause(phase, reply)
    assert (classify(phase, reply), found) == (means, cause)
    assert fix in name_variables(FIXES[found])
