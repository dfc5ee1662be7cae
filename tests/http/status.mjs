// Looks a token up in the status list with npm `jose` and zlib, knowing only the token and the list issuer's URL.
//
// Usage: node status.mjs NODE_DIRECTORY TASK.json. Prints, as its last line, the status of each token.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { inflateSync } from 'node:zlib'

const [modules, path] = process.argv.slice(2)
const jose = await import(pathToFileURL(`${modules}/node_modules/jose/dist/webapi/index.js`))
const task = JSON.parse(readFileSync(path, 'utf8'))

const wellKnown = new URL(task.issuer)
wellKnown.pathname = `/.well-known/oauth-authorization-server${wellKnown.pathname}`
const discovery = await (await fetch(wellKnown)).json()
assert.equal(discovery.issuer, task.issuer)
const keys = jose.createRemoteJWKSet(new URL(discovery.jwks_uri))

async function status(token) {
  const { uri, idx } = jose.decodeJwt(token).status.status_list
  const listed = await (await fetch(uri, { headers: { accept: 'application/statuslist+jwt' } })).text()
  const { payload } = await jose.jwtVerify(listed, keys, {
    algorithms: ['ES256'],
    issuer: task.issuer,
    subject: uri,
    typ: 'statuslist+jwt',
    requiredClaims: ['exp', 'iat', 'ttl'],
  })
  assert.equal(payload.status_list.bits, 1)
  const bits = inflateSync(Buffer.from(payload.status_list.lst, 'base64url'))
  return (bits[idx >> 3] >> (idx & 7)) & 1
}

console.log(JSON.stringify(await Promise.all(task.tokens.map(status))))
