// A verifier as most are, with npm `jose`: signature, audience and times, and nothing else. Tells what it thinks of each
// token: `accepted`, or the code of its error. The directory of the packages is in NODE_DIRECTORY.
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const jose = await import(pathToFileURL(`${process.env.NODE_DIRECTORY}/node_modules/jose/dist/webapi/index.js`))
const asked = JSON.parse(readFileSync(0, 'utf8'))
const key = await jose.importJWK(asked.jwk, asked.jwk.alg)
const options = { algorithms: [asked.jwk.alg], audience: asked.audience, typ: 'at+jwt', clockTolerance: 30 }
const verdicts = asked.tokens.map((token) =>
  jose.jwtVerify(token, key, options).then(() => 'accepted', (error) => error.code))
console.log(JSON.stringify(await Promise.all(verdicts)))
