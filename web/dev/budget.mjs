// Fails when a page's first load has grown beyond what was promised: scripts that the entry and the page need, compressed.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

const MOST = 300 * 1024
const manifest = JSON.parse(readFileSync('dist/.vite/manifest.json', 'utf8'))
const need = (key, seen = new Set()) => {
  if (seen.has(key)) return seen
  seen.add(key)
  for (const next of manifest[key].imports ?? []) need(next, seen)
  return seen
}
const script = /<script[^>]* src="\/([^"]+)"/.exec(readFileSync('dist/index.html', 'utf8'))[1]
const entry = Object.keys(manifest).find((key) => manifest[key].file === script)
// What each begins with; what opens above a page comes when there is time, and counts.
const PAGES = { 'log-in page': [], 'overview, lists, details': ['src/inside.ts', 'src/above.ts'], 'wizard': ['src/inside.ts', 'src/above.ts', 'src/pages/ServerWizard.vue'] }
for (const [page, more] of Object.entries(PAGES)) {
  const files = new Set()
  for (const root of [entry, 'src/app.ts', 'src/i18n/zh.ts', ...more]) for (const key of need(root)) files.add(manifest[key].file)
  const size = [...files].filter((f) => f.endsWith('.js')).reduce((sum, f) => sum + gzipSync(readFileSync(join('dist', f))).length, 0)
  console.log(`${page}: ${(size / 1024).toFixed(0)} KiB of scripts, compressed`)
  if (size > MOST) throw new Error(`${page} loads ${size} bytes; at most ${MOST}`)
}
