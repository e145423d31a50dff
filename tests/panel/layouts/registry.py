"""The cases of all groups; add your file here, or a case to the file of its group."""

from tests.panel.layouts import america, asia_and_europe, crypto, dates, headers, numbers, tools, traps, yahoo

GROUPS = {
    "Yahoo": yahoo.CASES,
    "Vendors of America": america.CASES,
    "Exchanges and vendors of Asia and Europe": asia_and_europe.CASES,
    "Coins": crypto.CASES,
    "Tools": tools.CASES,
    "Dates": dates.CASES,
    "Numbers": numbers.CASES,
    "Headers and lines": headers.CASES,
    "Traps": traps.CASES,
}
CASES = [case for cases in GROUPS.values() for case in cases]
