"""Header fields that providers, relays or mail programs act on: recipients, accounts, rules.

A caller who can set them can get past the policy: SparkPost, for one, reads further recipients from ``X-MSYS-API``. So
they are refused, by prefix and by name, unless the operator allows a name exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        "x-msys": "SparkPost: cc, bcc and archive recipients (developers.sparkpost.com, SMTP API)",
        "x-smtpapi": "SendGrid: recipients and filters (docs.sendgrid.com, Building an X-SMTPAPI Header)",
        "x-sg-": "SendGrid",
        "x-ses-": "Amazon SES: configuration set, sending authorization (docs.aws.amazon.com/ses, header fields)",
        "x-mailgun-": "Mailgun: delivery time, tracking, recipient variables (documentation.mailgun.com, SMTP)",
        "x-pm-": "Postmark: message stream, tracking (postmarkapp.com/developer, Sending with SMTP)",
        "x-mj-": "Mailjet: templates, campaigns (dev.mailjet.com, SMTP relay)",
        "x-mailjet-": "Mailjet",
        "x-mc-": "Mailchimp Transactional: bcc address, templates (mailchimp.com/developer, SMTP headers)",
        "x-mailin-": "Brevo (developers.brevo.com, SMTP relay)",
        "x-sib-": "Brevo",
        "x-elasticemail-": "Elastic Email (elasticemail.com/developers, SMTP)",
        "x-smtp2go-": "SMTP2GO",
        "x-mailersend-": "MailerSend",
        "x-mt-": "Mailtrap: category, variables (docs.mailtrap.io, SMTP)",
        "x-postal-": "Postal (docs.postalserver.io)",
        "x-resend-": "Resend",
        "x-zm-": "ZeptoMail",
        "x-xs": "SocketLabs (X-xsMessageId, X-xsMailingId)",
        "x-greenarrow-": "GreenArrow",
        "x-pmta-": "PowerMTA",
        "x-ms-exchange-": "Exchange: transport rules, spam level (learn.microsoft.com, X-headers of Exchange)",
        "x-forefront-": "Exchange Online Protection",
        "x-microsoft-antispam": "Exchange Online Protection",
        "x-gm-": "Gmail",
        "x-google-": "Gmail",
        "x-spam-": "SpamAssassin and its like: what filters believe",
        "x-envelope-": "procmail, fetchmail and their like: recipients",
        "x-original-": "Postfix: the recipient before rewriting",
        "x-forwarded-": "relays: on whose behalf, to whom",
        "x-resent-": "mail programs: further recipients",
    }
)
"""Prefixes of names, and who acts on them."""

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "x-sender": "IIS pickup folder, PowerMTA: envelope sender (learn.microsoft.com, Pickup directory)",
        "x-receiver": "IIS pickup folder, PowerMTA: recipients",
        "x-rcpt-to": "recipients",
        "x-bcc": "recipients",
        "x-cc": "recipients",
        "x-to": "recipients",
        "x-from": "envelope sender",
        "x-return-path": "envelope sender",
        "x-delivered-to": "recipients",
        "x-apparently-to": "recipients",
        "x-apiheader": "Pepipost",
        "x-virtual-mta": "PowerMTA: the address that sends (PowerMTA User's Guide, x-headers)",
        "x-job": "PowerMTA",
        "x-envid": "PowerMTA",
        "x-dkim-options": "PowerMTA",
        "x-binding": "Momentum: the address that sends",
        "x-campaignid": "Momentum",
        "x-confirm-reading-to": "Pegasus Mail and others: who is told that it was read",
        "x-read-receipt-to": "who is told that it was read",
        "x-no-archive": "archives",
    }
)
"""Whole names, and who acts on them."""

HARMLESS = ("X-PM-Tag", "X-Mailgun-Tag", "X-SES-MESSAGE-TAGS")
"""Names that only label an email in the provider's statistics; allowed by default."""

ADDRESSES = frozenset(
    {
        *("disposition-notification-to", "return-receipt-to", "x-confirm-reading-to", "x-read-receipt-to"),
        *("errors-to", "x-envelope-to", "x-rcpt-to", "x-receiver", "x-bcc", "x-cc", "x-to"),
    }
)
"""Names that contain addresses: even if allowed, the addresses obey the rules for recipients."""

ALLOWABLE = frozenset({"disposition-notification-to", "return-receipt-to"})
"""Names without ``X-`` that an operator may still allow."""


def is_acted_on(name: str) -> bool:
    """Tell whether a provider, relay or mail program acts on this header field."""
    lower = name.lower()
    return lower in NAMES or lower.startswith(tuple(PREFIXES))
