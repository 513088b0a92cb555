// One piece of work at a time, and what went wrong with it.
import { ref } from 'vue'

export function useGuard() {
  const error = ref<unknown>(null)
  const busy = ref(false)
  async function guard(work: () => Promise<unknown>) {
    if (busy.value) return
    busy.value = true
    error.value = null
    try {
      await work()
    } catch (e) {
      error.value = e
    } finally {
      busy.value = false
    }
  }
  return { error, busy, guard }
}
