// The origin server of http-tests/cache-tests, on the loopback interface alone: node serve.mjs SUITE PORT
import http from 'node:http'

const [suite, port] = process.argv.slice(2)
const load = async name => (await import(`${suite}/server/${name}.mjs`)).default
const handlers = {
  config: await load('handle-config'),
  test: await load('handle-test'),
  state: await load('handle-state')
}

http
  .createServer((request, response) => {
    const segments = new URL(request.url, 'http://localhost/').pathname.split('/').slice(1)
    const handle = handlers[segments.shift()]
    if (handle) return handle(segments, request, response)
    response.writeHead(404).end()
  })
  .listen(Number(port), '127.0.0.1')
