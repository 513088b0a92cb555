// Which rows of a long table are on the screen. All rows are equally high, so that it is arithmetic: it costs the same for ten rows and a million.
import { computed, onMounted, onScopeDispose, ref, type Ref } from 'vue'

/** Rows beyond the edge, so that a slow hand finds them there. */
const BEYOND = 5

export function useWindow(box: Ref<HTMLElement | null>, total: () => number, row: number, head: number) {
  const top = ref(0)
  // As high as the window until it is known: the first rows are there with the first paint.
  const height = ref(window.innerHeight)
  const from = computed(() => Math.max(0, Math.min(Math.floor(top.value / row), total() - 1) - BEYOND))
  const to = computed(() => Math.min(total(), Math.ceil((top.value + height.value - head) / row) + BEYOND))

  const scrolled = () => (top.value = box.value?.scrollTop ?? 0)
  const watcher = new ResizeObserver(([e]) => (height.value = e.contentRect.height))
  onMounted(() => {
    if (!box.value) return
    watcher.observe(box.value)
    box.value.addEventListener('scroll', scrolled, { passive: true })
  })
  onScopeDispose(() => watcher.disconnect())

  /** Scrolls just so far that a row can be seen whole. */
  function show(index: number) {
    const b = box.value
    if (!b) return
    const [low, high] = [(index + 1) * row + head - b.clientHeight, index * row]
    if (b.scrollTop > high) b.scrollTop = high
    else if (b.scrollTop < low) b.scrollTop = low
    scrolled()
  }
  return { from, to, show }
}
