// Work that nobody waits for.
const LATEST = 2000

/** Runs `work` when the page has nothing better to do, after two seconds at the latest. */
export function whenIdle(work: () => void) {
  if ('requestIdleCallback' in window) requestIdleCallback(() => work(), { timeout: LATEST })
  else setTimeout(work, LATEST / 4)
}
