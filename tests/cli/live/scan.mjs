// A QR scanner: draws the modules of an SVG as pixels, and has jsQR read them. Prints the text.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(`${process.env.NODE_DIRECTORY}/`)
const jsQR = require('jsqr')

const svg = readFileSync(process.argv[2], 'utf8')
const side = Number(/viewBox="0 0 (\d+) /.exec(svg)[1])
const PIXELS = 4
const width = side * PIXELS
const pixels = new Uint8ClampedArray(width * width * 4).fill(255)
for (const [, left, top] of svg.matchAll(/M(\d+),(\d+)h1v1h-1z/g)) {
    for (let y = 0; y < PIXELS; y++) {
        for (let x = 0; x < PIXELS; x++) {
            const at = ((Number(top) * PIXELS + y) * width + Number(left) * PIXELS + x) * 4
            pixels.fill(0, at, at + 3)
        }
    }
}
const read = jsQR(pixels, width, width)
if (read === null) {
    console.error('no QR code could be read')
    process.exit(1)
}
process.stdout.write(read.data)
