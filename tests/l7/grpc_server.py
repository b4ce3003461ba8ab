"""A server of gRPC without definitions: methods take and give bytes. Its port is its argument."""

import sys
import threading
from concurrent import futures

import grpc


def missing(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such secret")


def unavailable(request, context):
    context.abort(grpc.StatusCode.UNAVAILABLE, "later")


def wrong(request, context):
    raise RuntimeError("secret")


def slow(request, context):
    threading.Event().wait(0.03)
    return request


handlers = {
    "Echo": grpc.unary_unary_rpc_method_handler(lambda request, context: request),
    "Missing": grpc.unary_unary_rpc_method_handler(missing),
    "Unavailable": grpc.unary_unary_rpc_method_handler(unavailable),
    "Wrong": grpc.unary_unary_rpc_method_handler(wrong),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
    "Stream": grpc.unary_stream_rpc_method_handler(lambda request, context: iter([request] * 20)),
    "Both": grpc.stream_stream_rpc_method_handler(lambda requests, context: requests),
}
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
assert server.add_insecure_port("127.0.0.1:" + sys.argv[1]) > 0
server.start()
server.wait_for_termination()
