// Puts beside each file of the build the same in brotli, packed as small as it gets: the gateway serves it to whoever takes it, without packing again.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'

const LEAST = 512

export const packed = () => ({
  name: 'packed',
  writeBundle: {
    sequential: true,
    order: 'post',
    handler({ dir }, bundle) {
      for (const name of Object.keys(bundle)) {
        // The bundler's own notes are not served.
        if (name.startsWith('.')) continue
        const bytes = readFileSync(join(dir, name))
        const small = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } })
        if (bytes.length >= LEAST && small.length < bytes.length * 0.9) writeFileSync(join(dir, `${name}.br`), small)
      }
    },
  },
})
