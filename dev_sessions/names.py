"""Session ids: a League of Legends champion and a role, such as `fizz-top` or `riven-jg`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Protocol

    class Random(Protocol):
        """What `allocate` needs of a random source; `random.Random` is one."""

        def choice(self, seq: Sequence[str], /) -> str: ...


ROLES = ("top", "jg", "mid", "adc", "sup")

CHAMPIONS = tuple(
    """
    aatrox ahri akali akshan alistar ambessa amumu anivia annie aphelios ashe aurelionsol aurora
    azir bard belveth blitzcrank brand braum briar caitlyn camille cassiopeia chogath corki darius
    diana draven drmundo ekko elise evelynn ezreal fiddlesticks fiora fizz galio gangplank garen
    gnar gragas graves gwen hecarim heimerdinger hwei illaoi irelia ivern janna jarvaniv jax jayce
    jhin jinx kaisa kalista karma karthus kassadin katarina kayle kayn kennen khazix kindred kled
    kogmaw ksante leblanc leesin leona lillia lissandra lucian lulu lux malphite malzahar maokai
    masteryi mel milio missfortune mordekaiser morgana naafiri nami nasus nautilus neeko nidalee
    nilah nocturne nunu olaf orianna ornn pantheon poppy pyke qiyana quinn rakan rammus reksai rell
    renata renekton rengar riven rumble ryze samira sejuani senna seraphine sett shaco shen shyvana
    singed sion sivir skarner smolder sona soraka swain sylas syndra tahmkench taliyah talon taric
    teemo thresh tristana trundle tryndamere twistedfate twitch udyr urgot varus vayne veigar velkoz
    vex vi viego viktor vladimir volibear warwick wukong xayah xerath xinzhao yasuo yone yorick
    yuumi zac zed zeri ziggs zilean zoe zyra
    """.split()
)

MAX_LENGTH = 64

# The rule for names of groups, for errors.
GROUPS = f"use lower-case letters, digits and '-', at most {MAX_LENGTH}"

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_CHARACTERS = _LETTERS | frozenset("0123456789-")


def allocate(taken: Collection[str], random: Random) -> str:
    """An id that is not in `taken`; each free one is equally likely.

    When every champion has every role, a number is appended: `fizz-top-2`.
    """
    taken = frozenset(taken)
    suffix, number = "", 1
    names = [f"{champion}-{role}" for champion in CHAMPIONS for role in ROLES]
    while not (free := [name + suffix for name in names if name + suffix not in taken]):
        number += 1
        suffix = f"-{number}"
    return random.choice(free)


def is_valid(session_id: str) -> bool:
    """True if a user may give a session this id: `[a-z][a-z0-9-]{0,63}`, without a `-` at the end."""
    return session_id[:1] in _LETTERS and _is_word(session_id)


def is_group(name: object) -> bool:
    """True if a user may give a group this name: like an id, but a digit may come first, as in a run's name."""
    return isinstance(name, str) and name[:1] != "-" and _is_word(name)


def _is_word(text: str) -> bool:
    return 0 < len(text) <= MAX_LENGTH and text[-1] != "-" and _CHARACTERS.issuperset(text)
