# Asks a server over one connection: `client.py DIRECTORY sockets|memory PORT`. Each line that it reads is how often.
import asyncio, http.client, os, ssl, sys

directory, way, port = sys.argv[1:]
os.chdir(directory)
context = ssl.create_default_context(cafile="certificate.pem")


def sockets():
    connection = http.client.HTTPSConnection("localhost", int(port), context=context)
    connection.connect()
    print("connected", flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            connection.request("GET", "/asked")
            connection.getresponse().read()
        print("asked", flush=True)


async def memory():
    reader, writer = await asyncio.open_connection("localhost", int(port), ssl=context)
    print("connected", flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            writer.write(b"GET /asked HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(100)
        print("asked", flush=True)


sockets() if way == "sockets" else asyncio.run(memory())
