"""TLS receiver: a server for many hosts, each with a certificate of its own, that answers any POST.

``python -m benchmarks.tls_receiver DIRECTORY HOSTS`` serves with the ``*.pem`` files of the
directory on one port, and ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .receiver import ANSWER, address, listen

__all__ = ["tls_receiving", "write_certificates"]


async def _serve(directory: Path, hosts: int) -> None:
    servers = []
    for number, listener in enumerate(listen(hosts)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / f"{number}.pem")
        servers.append(await asyncio.start_server(_answer, sock=listener, ssl=context))
    print(json.dumps({"port": servers[0].sockets[0].getsockname()[1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            writer.write(ANSWER)
    writer.close()


# --- for whoever measures ----------------------------------------------------------------------------


def write_certificates(directory: Path, hosts: int) -> Path:
    """Write a certificate for each host, and a bundle: the authorities of certifi, and ours."""
    import certifi
    import trustme

    authority = trustme.CA()
    for number in range(hosts):
        authority.issue_cert(address(number)).private_key_and_cert_chain_pem.write_to_path(
            str(directory / f"{number}.pem")
        )
    bundle = directory / "bundle.crt"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + authority.cert_pem.bytes())
    return bundle


@contextlib.contextmanager
def tls_receiving(directory: Path, hosts: int) -> Iterator[int]:
    """Run a TLS receiver for as long as the context lasts, and return its port."""
    command = [sys.executable, "-m", "benchmarks.tls_receiver", str(directory), str(hosts)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(json.loads(process.stdout.readline())["port"])
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("hosts", type=int)
    options = parser.parse_args()
    asyncio.run(_serve(options.directory, options.hosts))


if __name__ == "__main__":
    main()
