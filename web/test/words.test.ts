// Nothing of the console is untranslated: both languages have the same keys, and every key that pages and descriptions ask for.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import en from '@/i18n/en'
import zh from '@/i18n/zh'
import { resources } from '@/resources'

type Tree = { [key: string]: string | Tree }
const flat = (tree: Tree, at = ''): Record<string, string> => Object.entries(tree).reduce((all, [k, v]) => (typeof v === 'string' ? { ...all, [at + k]: v } : { ...all, ...flat(v, `${at}${k}.`) }), {})
const [E, Z] = [flat(en), flat(zh)]
const walk = (dir: string): string[] => readdirSync(dir).flatMap((f) => (statSync(join(dir, f)).isDirectory() ? walk(join(dir, f)) : [join(dir, f)]))
const sources = walk('src').filter((f) => /\.(vue|ts)$/.test(f) && !f.includes('i18n/')).map((f) => [f, readFileSync(f, 'utf8')])
const holes = (s: string) => [...s.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort()

/** Words that are the same in both languages. */
const SAME = /^(vCPU|VLAN|DNS|NTP|MTU|MAC|UUID|ID|Linux|Windows)$|^(\{\w+\}|[\s：:×])+$/

describe('words', () => {
  it('has the same keys in both languages', () => expect(Object.keys(Z).sort()).toEqual(Object.keys(E).sort()))
  it('is Chinese in Chinese', () => {
    for (const [key, text] of Object.entries(Z)) if (!SAME.test(text)) expect(text, key).toMatch(/[一-鿿]/)
  })
  it('keeps what goes into a sentence', () => {
    for (const key of Object.keys(E)) expect(holes(Z[key]), key).toEqual(holes(E[key]))
  })
  it('knows every key that a page writes out', () => {
    for (const [file, text] of sources)
      for (const [, key] of text.matchAll(/\b(?:t|te)\(['`]([a-z_]+(?:\.[\w-]+)+)['`]/g)) expect(E, `${file}: ${key}`).toHaveProperty([key])
  })
  it('has no words of its own in templates', () => {
    for (const [file, text] of sources.filter(([f]) => f.endsWith('.vue'))) {
      const template = /<template>[\s\S]*<\/template>/.exec(text)?.[0] ?? ''
      const said = template.replace(/\{\{[\s\S]*?\}\}/g, '').replace(/="[^"]*"/g, '').replace(/<[^>]+>/g, '\n')
      const left = said.split('\n').map((l) => l.trim()).filter((l) => /[A-Za-z]{3,}/.test(l) && !/^(English|eth|Ctrl K|Ctrl-Alt-Del|Linux|Windows|GiB|vCPU.*)$/.test(l))
      expect(left, file).toEqual([])
    }
  })
  it('knows what descriptions name', () => {
    const need = (key: string, who: string) => expect(E, `${who}: ${key}`).toHaveProperty([key])
    for (const d of Object.values(resources)) {
      need(`many.${d.plural}`, d.plural)
      need(`one.${d.singular}`, d.plural)
      need(`group.${d.group}`, d.plural)
      need(`teach.${d.plural}`, d.plural)
      for (const c of [...d.columns, ...(d.facts ?? [])]) need(`field.${c.label ?? c.key}`, d.plural)
      for (const f of d.filters ?? []) {
        need(`field.${f.key}`, d.plural)
        if (f.words === 'status') for (const o of f.options ?? []) need(`status.${o}`, d.plural)
      }
      for (const x of d.tabs ?? []) need(`tab.${x.key}`, d.plural)
      for (const f of [...(d.create?.form ?? []), ...d.actions.flatMap((a) => a.form ?? [])]) {
        need(`field.${f.label ?? f.key}`, d.plural)
        if (f.help) need(`help.${f.help}`, d.plural)
      }
      for (const a of d.actions) {
        need(`act.${a.key}`, d.plural)
        if (a.confirm && !a.form) need(`ask.${a.key}`, d.plural)
        const said = String(a.why ?? '') + String(a.blast ?? '')
        for (const [, key] of said.matchAll(/["'`]((?:why|blast)\.\w+)["'`]/g)) need(key, d.plural)
      }
    }
  })
})
