// All tests of http-tests/cache-tests against a cache, as JSON: node run.mjs SUITE URL
//
// Each test has its suite, kind (`required`, `optimal`, `check`), name, and what came of it: `pass`, `fail`, `setup` where the
// test could not be made, `untested` where it is for browsers.
import { createRequire } from 'node:module'

const [suite, url] = process.argv.slice(2)
const fetch = createRequire(`${suite}/`)('node-fetch')
const { runTests, getResults } = await import(`${suite}/client/runner.mjs`)
const suites = (await import(`${suite}/tests/index.mjs`)).default

await runTests(suites, fetch, false, url)
const results = getResults()
const outcome = result => {
  if (result === undefined) return 'untested'
  if (result === true) return 'pass'
  return result[0] === 'Setup' ? 'setup' : 'fail'
}
const all = suites.flatMap(({ name: suite, tests }) =>
  tests.map(({ id, name, kind = 'required' }) => ({ suite, id, name, kind, outcome: outcome(results[id]) }))
)
console.log(JSON.stringify(all))
