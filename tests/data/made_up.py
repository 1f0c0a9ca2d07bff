"""Secrets and personal data that nobody owns, put together so that no scanner takes them for real.

`SECRETS` and `PERSONAL` say for each kind one text that has it.
"""

import base64
import json

_LETTERS = "q7RzKd2mVxY9sLw4TfBn8cHj3PgZu6aE5vWkXy1tNbMoJiDrQeUhSpGlAfOC"


def letters(count: int, alphabet: str = _LETTERS) -> str:
    """Return as many letters and digits, always the same ones."""
    return (alphabet * (count // len(alphabet) + 1))[:count]


def hexadecimal(count: int) -> str:
    """Return as many hexadecimal digits, always the same ones."""
    return letters(count, "9f3a7c10be58d246")


def web_token() -> str:
    """Return a JSON web token whose parts are well formed."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return ".".join((part({"alg": "HS256", "typ": "JWT"}), part({"sub": "guest-17"}), letters(43)))


def private_key() -> str:
    """Return what a PEM file looks like."""
    return "\n".join(
        (
            "-----BEGIN RSA " + "PRIVATE KEY-----",
            letters(64),
            letters(64),
            "-----END RSA " + "PRIVATE KEY-----",
        )
    )


SECRETS: dict[str, str] = {
    "AWS Access Key": "AKI" + "A" + "Q7RZKD2MVXY9SLW4",
    "Azure Storage Account access key": "Account" + "Key=" + letters(86) + "==",
    "GitHub Token": "gh" + "p_" + letters(36),
    "GitHub token": "github" + "_pat_" + letters(22) + "_" + letters(59),
    "GitLab Token": "glp" + "at-" + letters(20),
    "JSON web token": web_token(),
    "Mailchimp Access Key": hexadecimal(32) + "-u" + "s14",
    "OpenAI key": "s" + "k-proj-" + letters(80),
    "Anthropic key": "s" + "k-ant-api03-" + letters(90),
    "OpenRouter key": "s" + "k-or-v1-" + hexadecimal(64),
    "private key": private_key(),
    "PyPI Token": "pypi" + "-AgEIcHlwaS5vcmc" + letters(80),
    "SendGrid API Key": "S" + "G." + letters(22) + "." + letters(43),
    "Slack token": "xo" + "xb-" + "839201746352-918273645012-" + letters(24),
    "Slack Token": "https://hooks" + ".slack.com/services/T8392KD1/B81KDM20/" + letters(24),
    "Slack app token": "xa" + "pp-1-A0283KDM12-839201746352-" + hexadecimal(64),
    "Square OAuth Secret": "sq0" + "csp-" + letters(43),
    "Stripe key": "sk_" + "live_" + letters(24),
    "Telegram Bot Token": "839201746" + ":AA" + letters(33),
    "Google API key": "AI" + "za" + letters(35),
    "Google access token": "ya" + "29." + letters(60),
    "Google client secret": "GOC" + "SPX-" + letters(28),
    "Hugging Face token": "h" + "f_" + letters(34, "qRzKdmVxYsLwTfBncHjPgZuaEvWkXytNbM"),
    "Groq key": "gs" + "k_" + letters(52),
    "xAI key": "xa" + "i-" + letters(80),
    "Perplexity key": "ppl" + "x-" + letters(48),
    "Replicate token": "r" + "8_" + letters(37),
    "npm token": "np" + "m_" + letters(36),
    "webhook secret": "wh" + "sec_" + letters(32),
    "Shopify token": "shp" + "at_" + hexadecimal(32),
    "DigitalOcean token": "dop" + "_v1_" + hexadecimal(64),
    "Databricks token": "da" + "pi" + hexadecimal(32),
    "Atlassian token": "ATA" + "TT3" + letters(180),
    "HashiCorp Vault token": "hv" + "s." + letters(90),
    "age key": "AGE-SECRET" + "-KEY-1" + letters(58, "Q7RZKD2MVXY9SLW4TFBN8CHJ3PGZ"),
    "bearer token": "Authorization: Bearer " + letters(40),
    "password in an address": "postgresql://app:" + "Tr0ub4dor" + "@db.hotel-alba.com/guests",
    "password or key": "the pass" + "word is " + "Blue-Harbor-42",
}

PERSONAL: dict[str, str] = {
    "e-mail address": "jana.kowalska" + "@" + "gmail.com",
    "telephone number": "+49 30 2093 1234",
    "payment card number": "4539 5787 6362 1486",
    "bank account number (IBAN)": "DE44 5001 0517 5407 3249 31",
    "US social security number": "536-90-4399",
    "Brazilian tax number (CPF)": "390.533.447-05",
    "French social security number": "2 95 10 99 126 111 93",
}
