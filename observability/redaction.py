"""Removes secrets from texts that are logged: the last line of defence, not the first."""

import re

REDACTED = "[redacted]"

# In this order: a whole connection string is replaced before a rule matches a part of it.
_RULES = (
    # key=value pairs joined by semicolons; the first key is one that starts connection strings
    (
        r"(?i)\b(?:driver|server|data source|dsn|host|endpoint|instrumentationkey|"
        r"defaultendpointsprotocol|accountname)\s*=\s*(?:\{[^}\n]*\}|[^;\n{]*)"
        r"(?:;\s*[\w .]+=\s*(?:\{(?:[^}\n]|\}\})*\}|[^;\n{'\"]*))+;?",
        "[connection string]",
    ),
    # the product's own API keys (authentication.api_keys)
    (r"\bspa_[\w-]{8,}", REDACTED),
    # JSON Web Tokens: two or three parts of base64url, the first of which is a JSON object
    (r"\beyJ[\w-]{5,}\.[\w-]*(?:\.[\w-]*)?", REDACTED),
    (r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}", rf"\1 {REDACTED}"),
    (r"(?i)\b(x-api-key|api[_-]?key)(['\"]?\s*[:=]\s*['\"]?)[^\s'\",;]+", rf"\1\2{REDACTED}"),
    (
        r"(?i)\b(pwd|password|passwd|secret|client_secret|access_?token|token|sig|sharedaccesskey"
        r"|accountkey|x-identity-header)(['\"]?\s*[:=]\s*)"
        r"(?:\{(?:[^}]|\}\})*\}|'[^']*'|\"[^\"]*\"|[^\s;,&'\"]+)",
        rf"\1\2{REDACTED}",
    ),
    # the password of a URL
    (r"(\w://[^\s/:@]+:)[^\s/@]+@", rf"\1{REDACTED}@"),
)
_COMPILED = tuple((re.compile(pattern), replacement) for pattern, replacement in _RULES)
# Each rule needs one of these; most lines have none, and skip the rules.
_SUSPICIOUS = re.compile(r"(?i)[=@]|eyJ|spa_|bearer|basic|identity|key|pwd|pass|secret|token")


def redact(text: str) -> str:
    """`text` without tokens, passwords, keys and connection strings."""
    if _SUSPICIOUS.search(text):
        for pattern, replacement in _COMPILED:
            text = pattern.sub(replacement, text)
    return text
