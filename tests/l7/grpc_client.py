"""Calls of gRPC to the server of the tests. Prints each method with its status, and how long it took."""

import sys
import time
from concurrent import futures

import grpc

calls = []
channel = grpc.insecure_channel("127.0.0.1:" + sys.argv[1])


def call(method, body=b"hello"):
    begin = time.monotonic()
    try:
        channel.unary_unary("/test.Service/" + method)(body, timeout=20)
        status = 0
    except grpc.RpcError as error:
        status = error.code().value[0]
    calls.append((method, status, time.monotonic() - begin))


for size in range(100):
    call("Echo", b"x" * (10 * size))
for _ in range(20):
    for method in ["Missing", "Unavailable", "Wrong", "Absent", "Slow"]:
        call(method)
for _ in range(10):
    begin = time.monotonic()
    assert len(list(channel.unary_stream("/test.Service/Stream")(b"y" * 3000))) == 20
    calls.append(("Stream", 0, time.monotonic() - begin))
    begin = time.monotonic()
    assert len(list(channel.stream_stream("/test.Service/Both")(iter([b"z" * 100] * 50)))) == 50
    calls.append(("Both", 0, time.monotonic() - begin))
call("Echo", b"b" * 1000000)
# Beside each other, over the one connection.
with futures.ThreadPoolExecutor(8) as threads:
    list(threads.map(lambda _: call("Echo"), range(200)))
channel.close()
for method, status, seconds in calls:
    print(method, status, seconds)
