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
for (const page of ['LoginPage', 'OverviewPage', 'ListPage', 'DetailPage', 'ServerWizard']) {
  const files = new Set()
  for (const root of ['index.html', 'src/app.ts', ...(page === 'LoginPage' ? [] : ['src/parts/Shell.vue']), `src/pages/${page}.vue`, 'src/i18n/zh.ts']) for (const key of need(root)) files.add(manifest[key].file)
  const size = [...files].filter((f) => f.endsWith('.js')).reduce((sum, f) => sum + gzipSync(readFileSync(join('dist', f))).length, 0)
  console.log(`${page}: ${(size / 1024).toFixed(0)} KiB of scripts, compressed`)
  if (size > MOST) throw new Error(`${page} loads ${size} bytes; at most ${MOST}`)
}
