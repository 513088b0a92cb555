// A sign for each operating system: its initial on its colour. Their own logos are their owners' marks and are not ours to ship.
import { h, type VNode } from 'vue'

/** Word in the name, initials. The colour is in the style sheet, by the word. */
const KNOWN: [word: string, sign: string][] = [
  ['debian', 'De'], ['ubuntu', 'Ub'], ['centos', 'Ce'], ['rocky', 'Ro'], ['alma', 'Al'], ['fedora', 'Fe'], ['redhat', 'RH'], ['rhel', 'RH'], ['opensuse', 'Su'], ['suse', 'Su'],
  ['alpine', 'Ap'], ['arch', 'Ar'], ['freebsd', 'Fb'], ['windows', 'Wi'], ['openeuler', 'oE'], ['anolis', 'An'], ['kylin', 'Ky'], ['uos', 'Uo'], ['cirros', 'Ci'],
]

/** Decoration: the name stands beside it. */
export function osSign(...names: unknown[]): VNode {
  const name = names.find((n) => typeof n === 'string' && n) as string | undefined
  const plain = (name ?? '').toLowerCase().replace(/[\s_-]/g, '')
  const found = KNOWN.find(([word]) => plain.includes(word))
  return h('span', { class: 'os', 'data-os': found?.[0] ?? 'other', 'aria-hidden': 'true' }, found?.[1] ?? (name ? name.slice(0, 2) : '?'))
}
