// The focus comes back to where it was before something opened above the page. Dialogs here are opened by rows, menus and keys and have no trigger of
// their own that their library could go back to.
import { onUnmounted, watch, type Ref } from 'vue'

const ABOVE = '[role=dialog], [role=menu]'
let before: HTMLElement | null = null

/** Remembers a place of the page; what lies above it is none. */
export function leave(place: Element | null = document.activeElement) {
  if (place === document.body) before = null
  else if (place instanceof HTMLElement && !place.closest(ABOVE)) before = place
}

/** Goes back there when nothing is open any more, unless the focus has gone on by itself. */
function comeBack() {
  setTimeout(() => {
    const now = document.activeElement
    if (document.querySelector('[role=dialog][data-state=open]') || (now && now !== document.body && !now.closest(ABOVE))) return
    const to = before?.isConnected ? before : document.getElementById('main')
    to?.focus({ preventScroll: true })
  })
}

/** For whatever takes the focus while it is open. */
export function useReturn(open: Ref<boolean>) {
  let held = false
  const turn = (on: boolean) => {
    if (on) leave()
    else if (held) comeBack()
    held = on
  }
  watch(open, turn, { immediate: true })
  onUnmounted(() => turn(false))
}
