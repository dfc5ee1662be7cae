// Opens our JOSE objects with npm `jose`, and writes objects of its making.
//
// Usage: node foreign.mjs OURS.json THEIRS.json NODE_DIRECTORY. Fails loudly at the first thing that does not open.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const [oursPath, theirsPath, modules] = process.argv.slice(2)
const jose = await import(pathToFileURL(`${modules}/node_modules/jose/dist/webapi/index.js`))
const ours = JSON.parse(readFileSync(oursPath, 'utf8'))
const text = (bytes) => new TextDecoder().decode(bytes)
const secret = async (name, alg) => jose.importJWK(ours.keys[name], alg)
const open = async (name, alg) => {
  const { d, ...jwk } = ours.keys[name]
  return jose.importJWK(jwk, alg)
}

// --- ours
for (const [name, thumbprint] of Object.entries(ours.thumbprints)) {
  assert.equal(await jose.calculateJwkThumbprint(ours.keys[name]), thumbprint)
}
for (const name of ['requester', 'custodian']) {
  const { payload } = await jose.generalVerify(JSON.parse(ours.jws), await open(name, 'ES256'))
  assert.equal(text(payload), ours.payload)
}
await assert.rejects(jose.generalVerify(JSON.parse(ours.jws), await open('issuer', 'ES256')))

const { payload } = await jose.jwtVerify(ours.jwt, await open('issuer', 'ES256'), {
  algorithms: ['ES256'], audience: 'db', issuer: 'https://bg.example', typ: 'at+jwt',
})
assert.deepEqual(payload, JSON.parse(ours.claims))

const { plaintext, protectedHeader } = await jose.compactDecrypt(ours.jwe, await secret('recipient', 'ECDH-ES'))
assert.equal(text(plaintext), ours.jwt)
assert.equal(protectedHeader.cty, 'JWT')

// --- theirs
const statement = new jose.GeneralSign(new TextEncoder().encode(ours.payload))
for (const [index, name] of ['requester', 'custodian'].entries()) {
  statement.addSignature(await secret(name, 'ES256')).setProtectedHeader(JSON.parse(ours.headers[index]))
}
const { payload: body, signatures } = await statement.sign()
const jws = { payload: body, signatures: signatures.map(({ protected: p, signature }) => ({ protected: p, signature })) }
const jwt = await new jose.SignJWT(JSON.parse(ours.claims))
  .setProtectedHeader({ alg: 'ES256', kid: ours.thumbprints.issuer, typ: 'at+jwt' })
  .sign(await secret('issuer', 'ES256'))
// Its JWE writes epk in another order than JCS, and we read only what we write: none here.
writeFileSync(theirsPath, JSON.stringify({ jws: JSON.stringify(jws), jwts: [jwt], jwes: [] }))
