// Work that nobody waits for.
const LATEST = 2000

/** Runs `work` when the page has nothing better to do, after two seconds at the latest. */
export function whenIdle(work: () => void) {
  if ('requestIdleCallback' in window) requestIdleCallback(() => work(), { timeout: LATEST })
  else setTimeout(work, LATEST / 4)
}

/** When what is there now has been painted; at once on a page that nobody sees. */
export const painted = (): Promise<void> => new Promise((on) => (document.hidden ? on() : requestAnimationFrame(() => setTimeout(on))))
