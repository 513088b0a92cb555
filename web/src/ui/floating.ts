// What floats above a page: one menu and one hint at a time, for all of its buttons. The library that places them comes when the first is asked
// for, so that a row of a table with a menu costs no more than its button.
import { shallowReactive, type Component } from 'vue'
import { leave } from './focus'

export interface Entry {
  key: string
  label: string
  icon?: Component
  danger?: boolean
  why?: string | null
  on?: boolean
  /** A caption above it. */
  cap?: string
  line?: boolean
}
export interface Menu {
  anchor: HTMLElement
  label?: string
  /** Asked while it is open, so that it follows what happens meanwhile. */
  entries: () => Entry[]
  choose: (key: string) => void
}
export const floating = shallowReactive({ wanted: false, menu: null as Menu | null, hint: null as null | { anchor: HTMLElement; text: string } })

/** Has the library come soon: somebody points at a button that will want it. */
export const warm = () => (floating.wanted = true)

/** Opens a menu, or closes it when it is the one that is open. */
export function openMenu(menu: Menu) {
  warm()
  // What is chosen from it may open a dialog, which gives the focus back to the button.
  leave(menu.anchor)
  floating.hint = null
  floating.menu = floating.menu?.anchor === menu.anchor ? null : menu
}

const AFTER = 300
/** Shows the hint of whatever `data-hint` the pointer rests on or the keyboard comes to. */
export function watchHints() {
  let at: HTMLElement | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  const turn = (to: HTMLElement | null, after: number) => {
    if (to === at) return
    clearTimeout(timer)
    at = to
    floating.hint = null
    if (to) warm(), (timer = setTimeout(() => to.isConnected && to.dataset.hint && (floating.hint = { anchor: to, text: to.dataset.hint }), after))
  }
  const near = (e: Event) => (e.target instanceof Element ? e.target.closest<HTMLElement>('[data-hint]') : null)
  document.addEventListener('pointerover', (e) => e.pointerType !== 'touch' && turn(near(e), AFTER), { passive: true })
  document.addEventListener('focusin', (e) => (e.target as Element).matches(':focus-visible') && turn(near(e), 0))
  document.addEventListener('focusout', () => turn(null, 0))
  // A finger has no hover: pressing what cannot be pressed says why.
  document.addEventListener('click', (e) => (near(e)?.getAttribute('aria-disabled') ? turn(near(e), 0) : turn(null, 0)))
  document.addEventListener('keydown', (e) => e.key === 'Escape' && turn(null, 0))
}
