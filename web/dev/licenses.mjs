// Writes LICENSES.md: every package that ends up in the pages, with its licence. With --check, fails when the file is behind or a licence is new to us.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { NOTE } from './shipped.mjs'

const GOOD = new Set(['MIT', 'ISC', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD', 'MPL-2.0', 'MIT OR Apache-2.0', '(MIT AND BSD-3-Clause)'])
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const lines = []
for (const path of JSON.parse(readFileSync(NOTE, 'utf8'))) {
  const entry = lock.packages[path]
  if (!entry) throw new Error(`${path} is in the pages and not in the lock file`)
  const file = `${path}/package.json`
  const licence = entry.license ?? (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).license : undefined) ?? 'unknown'
  if (!GOOD.has(licence)) throw new Error(`${path}: licence ${licence} is not one we know; look at it and add it here`)
  lines.push(`| ${path.replace(/^.*node_modules\//, '')} | ${entry.version} | ${licence} |`)
}
const text = `# Packages in the console\n\nWritten by \`npm run licenses\` after a build: what is in the pages, not what builds them.\n\n| package | version | licence |\n|---|---|---|\n${[...new Set(lines)].sort().join('\n')}\n`
if (process.argv.includes('--check')) {
  if (!existsSync('LICENSES.md') || readFileSync('LICENSES.md', 'utf8') !== text) throw new Error('LICENSES.md is not what is in the pages; run: npm run licenses')
} else writeFileSync('LICENSES.md', text)
