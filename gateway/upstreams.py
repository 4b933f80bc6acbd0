"""Where a project's service stands behind the gateway, and where it may not."""

import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

from gateway.errors import Invalid

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST = 2000
BASE_URL = re.compile(
    r"https?://"
    r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])"  # no user info: a password in an address ends in a log
    r"(:[0-9]{1,5})?"
    r"(/[!-~]*)?"
)
PLACE = re.compile(r"\[(?P<bracketed>[^][]+)\](:(?P<port_of_bracketed>[0-9]+))?|(?P<plain>[^:]+)(:(?P<port>[0-9]+))?")
PUBLIC = "public"


def _networks(text: str) -> list[Network]:
    return [ip_network(each) for each in text.split()]


NEVER = _networks(
    "0.0.0.0/8 ::/128 "  # unspecified: a connection there ends on this machine
    "169.254.0.0/16 fe80::/10 "  # link-local, where the metadata of most clouds is
    "224.0.0.0/4 255.255.255.255/32 ff00::/8 "  # multicast and broadcast
    "100.100.100.200/32 168.63.129.16/32 192.0.0.192/32 fd00:ec2::254/128 fd20:ce::254/128"  # metadata elsewhere
)
NOT_PUBLIC = _networks(  # the special-purpose registries of IANA (RFC 6890), for any version of Python
    "10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 "
    "198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 "
    "2001::/23 2001:db8::/32 2002::/16 3fff::/20"
)
PUBLIC_IPV6 = IPv6Network("2000::/3")  # all that is global unicast lies here

NAT64 = IPv6Network("64:ff9b::/96")
LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
COMPATIBLE, TRANSLATED = IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96")


def checked_upstream_url(url: str) -> str:
    """The base URL, as it was given. Raises Invalid unless it is http or https, a host, perhaps a port and a path."""
    if len(url) > LONGEST or not BASE_URL.fullmatch(url) or not _can_be_called(url):
        raise Invalid(
            "An upstream is http:// or https://, a host, and where needed a port and a path; nothing else.",
            ["upstreamUrl"],
        )
    return url


def _can_be_called(url: str) -> bool:
    """What the pattern can't say: a port that exists, an address in the brackets, and a path that stays what it is."""
    try:
        parts = urlsplit(url)
        segments = parts.path.split("/")
        return parts.port != 0 and not {"?", "#", "\\"} & set(url) and not {".", ".."} & set(segments)
    except ValueError:
        return False


@dataclass(frozen=True)
class Place:
    """A network, and the one port in it that is meant, or all."""

    network: Network
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of `CIDR[:port]`; an IPv6 network with a port stands in brackets. Raises ValueError."""
        if text.count(":") > 1 and not text.startswith("["):
            return cls(ip_network(text))
        if not (found := PLACE.fullmatch(text)):
            raise ValueError(f"{text} is no network like 10.0.0.0/8:9000 or [fd00::/8]:9000")
        network = ip_network(found["bracketed"] or found["plain"])
        port = found["port_of_bracketed"] or found["port"]
        if port is not None and not 0 < int(port) < 65_536:
            raise ValueError(f"{text} names a port that can't be")
        return cls(network, None if port is None else int(port))

    def holds(self, address: Address, port: int) -> bool:
        return address in self.network and self.port in {None, port}


@dataclass(frozen=True)
class UpstreamAllow:
    """Which addresses a call may be passed on to. The gateway's own are those it listens on."""

    places: tuple[Place, ...] = ()
    is_public_allowed: bool = True
    own: tuple[tuple[Address, int], ...] = ()

    @classmethod
    def parse(cls, values: Iterable[str], own: Iterable[tuple[str, int]] = ()) -> Self:
        """Of `CIDR[:port]`, or the word public; none at all means public addresses alone. Raises ValueError."""
        given = list(values)
        places = tuple(Place.parse(value) for value in given if value != PUBLIC)
        listeners = tuple((ip_address(host), port) for host, port in own)
        return cls(places, not given or PUBLIC in given, listeners)

    def permits(self, address: Address, port: int) -> bool:
        """Whether the gateway may connect to it. An IPv4 address inside an IPv6 one is judged as what it leads to."""
        forms = list(_forms(address))
        if any(_is_never(form) or self._is_own(form, port) for form in forms):
            return False
        target = _target(address)
        is_listed = any(place.holds(form, port) for place in self.places for form in (address, target))
        return is_listed or (self.is_public_allowed and is_public(target))

    def _is_own(self, address: Address, port: int) -> bool:
        for listener, its_port in self.own:
            if port == its_port and (address == listener or (listener.is_unspecified and _is_local(address))):
                return True
        return False


def is_public(address: Address) -> bool:
    """Whether it is an address of the Internet, not of this machine, a private network or a document."""
    is_special = any(address in network for network in NOT_PUBLIC + NEVER)
    is_unicast = isinstance(address, IPv4Address) or address in PUBLIC_IPV6
    return address.is_global and is_unicast and not is_special


def _is_never(address: Address) -> bool:
    return any(address in network for network in NEVER)


def _is_local(address: Address) -> bool:
    """Whether it is this machine's: only such an address can be bound."""
    if address.is_loopback:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _target(address: Address) -> Address:
    """Where a connection to it ends: IPv4-mapped and NAT64 addresses are other spellings of IPv4 ones."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    return _tail(address) if address in NAT64 else address


def _forms(address: Address) -> Iterator[Address]:
    """The address, and each that may be meant by it: what is never allowed isn't in any disguise."""
    yield address
    if isinstance(address, IPv4Address):
        return
    yield from (embedded for embedded in (address.ipv4_mapped, address.sixtofour) if embedded)
    yield from address.teredo or ()
    is_like_ipv4 = address in COMPATIBLE and not address.is_loopback
    if is_like_ipv4 or address in NAT64 or address in TRANSLATED or address in LOCAL_NAT64:
        yield _tail(address)
    if address in LOCAL_NAT64:  # RFC 6052, 2.2: behind a prefix of 48 bits, or of 64, an octet of zeros lies within
        octets = address.packed
        yield IPv4Address(octets[6:8] + octets[9:11])
        yield IPv4Address(octets[9:13])


def _tail(address: IPv6Address) -> IPv4Address:
    return IPv4Address(address.packed[12:])
