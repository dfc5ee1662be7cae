// Verifies a token with npm `jose`, knowing only the issuer's URL, and refuses what has to be refused.
//
// Usage: node verify.mjs NODE_DIRECTORY TASK.json. Prints the claims of the good token as its last line.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const [modules, path] = process.argv.slice(2)
const jose = await import(pathToFileURL(`${modules}/node_modules/jose/dist/webapi/index.js`))
const task = JSON.parse(readFileSync(path, 'utf8'))

// RFC 8414 section 3.1: the issuer's path comes after the well-known one.
const wellKnown = new URL(task.issuer)
wellKnown.pathname = `/.well-known/oauth-authorization-server${wellKnown.pathname.replace(/\/$/, '')}`
const discovery = await (await fetch(wellKnown)).json()
assert.equal(discovery.issuer, task.issuer)
const keys = jose.createRemoteJWKSet(new URL(discovery.jwks_uri), { cooldownDuration: 0 })
const verify = (token) =>
  jose.jwtVerify(token, keys, {
    algorithms: discovery.id_token_signing_alg_values_supported,
    audience: task.audience,
    issuer: task.issuer,
    typ: 'at+jwt',
    requiredClaims: ['exp', 'iat', 'nbf', 'sub', 'jti', 'client_id', 'cnf'],
  })

for (const bad of task.bad) await assert.rejects(verify(bad), jose.errors.JOSEError)
const { payload } = await verify(task.good)
console.log(JSON.stringify(payload))
