"""A Thrift server with Apache's own library: server.py GENERATED TRANSPORT PROTOCOL [--multiplexed] [--tls CERTIFICATE KEY]

Prints its port.
"""

import ssl
import sys
import time

sys.path.insert(0, sys.argv[1])

from everything import Everything
from everything.ttypes import Denied, Thing
from shared.ttypes import NotFound
from thrift.TMultiplexedProcessor import TMultiplexedProcessor
from thrift.protocol.TBinaryProtocol import TBinaryProtocolFactory
from thrift.protocol.TCompactProtocol import TCompactProtocolFactory
from thrift.server.THttpServer import THttpServer
from thrift.server.TServer import TThreadedServer
from thrift.transport.TSSLSocket import TSSLServerSocket
from thrift.transport.TSocket import TServerSocket
from thrift.transport.TTransport import TBufferedTransportFactory, TFramedTransportFactory


def say(text):
    print(text, flush=True)


class Handler:
    def __init__(self):
        self.notes = []

    def ping(self):
        return "pong"

    def echo(self, thing):
        if thing.name == "denied":
            raise Denied(message="not you", level=3)
        if thing.name == "missing":
            raise NotFound(message="no such thing", id=thing.id)
        return thing

    def add(self, a, b):
        return a + b

    def nothing(self):
        pass

    def note(self, text):
        self.notes.append(text)

    def noted(self):
        return self.notes

    def many(self, count):
        return [Thing(id=i, name="thing %d" % i, next=Thing(id=-i)) for i in range(count)]

    def slow(self, millis):
        time.sleep(millis / 1000)
        return "done"

    def boom(self):
        raise RuntimeError("an error of its own")


class Told:
    def listen(self):
        super().listen()
        say("port %d" % self.handle.getsockname()[1])


class Socket(Told, TServerSocket):
    pass


class SecureSocket(Told, TSSLServerSocket):
    pass


def main():
    transport, protocol = sys.argv[2:4]
    processor = Everything.Processor(Handler())
    if "--multiplexed" in sys.argv:
        single, processor = processor, TMultiplexedProcessor()
        processor.registerProcessor("Everything", single)
    protocols = {"binary": TBinaryProtocolFactory, "compact": TCompactProtocolFactory}[protocol]()
    if transport == "http":
        server = THttpServer(processor, ("127.0.0.1", 0), protocols)
        say("port %d" % server.httpd.server_port)
    else:
        transports = {"framed": TFramedTransportFactory, "buffered": TBufferedTransportFactory}[transport]()
        socket = Socket("127.0.0.1", 0)
        if "--tls" in sys.argv:
            certificate, key = sys.argv[sys.argv.index("--tls") + 1 :][:2]
            socket = SecureSocket("127.0.0.1", 0, certfile=certificate, keyfile=key, cert_reqs=ssl.CERT_NONE)
        server = TThreadedServer(processor, socket, transports, protocols, daemon=True)
    server.serve()


main()
