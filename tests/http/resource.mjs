// A resource server written with oauth4webapi, which judges by RFC 8414, RFC 9068 and RFC 9449, knowing only the
// issuer's URL: the token opens the door with a proof of its key, and without one it does not.
//
// Usage: node resource.mjs NODE_DIRECTORY TASK.json. Prints the claims of the good token as its last line.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const [modules, path] = process.argv.slice(2)
const oauth = await import(pathToFileURL(`${modules}/node_modules/oauth4webapi/build/index.js`))
const task = JSON.parse(readFileSync(path, 'utf8'))
const issuer = new URL(task.issuer)
// The test's issuer speaks http on loopback.
const insecure = { [oauth.allowInsecureRequests]: true }

const discover = async (algorithm) =>
  oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...insecure }))
const server = await discover('oauth2')
assert.deepEqual(await discover('oidc'), server)

const curve = { name: 'ECDSA', namedCurve: 'P-256' }
const pair = async ({ d, ...open }) => ({
  privateKey: await crypto.subtle.importKey('jwk', { ...open, d }, curve, false, ['sign']),
  publicKey: await crypto.subtle.importKey('jwk', open, curve, true, ['verify']),
})
const url = new URL(`${task.audience}/orders`)

// What a client with this key would send.
const asking = async (token, key) => {
  let sent
  const options = {
    ...(key && { DPoP: oauth.DPoP({ client_id: 'erin' }, key) }),
    [oauth.customFetch]: async (to, init) => {
      sent = new Request(to, { method: init.method, headers: init.headers })
      return new Response('{}')
    },
  }
  await oauth.protectedResourceRequest(token, 'GET', url, undefined, undefined, options)
  return sent
}
const verify = async (token, key, audience = task.audience) =>
  oauth.validateJwtAccessToken(server, await asking(token, key), audience, {
    signingAlgorithms: server.id_token_signing_alg_values_supported, ...insecure,
  })

const own = await pair(task.cnf)
const stranger = await crypto.subtle.generateKey(curve, true, ['sign', 'verify'])
await assert.rejects(verify(task.good, undefined), 'a bare token')
await assert.rejects(verify(task.good, stranger), "a thief's key")
await assert.rejects(verify(task.good, own, 'https://other.example.test'), 'another audience')
for (const bad of task.bad) await assert.rejects(verify(bad, own))
console.log(JSON.stringify(await verify(task.good, own)))
