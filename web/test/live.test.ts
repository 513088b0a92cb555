import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { latest } from '@/api/live'
import { dismiss, hold, release, say, toasts } from '@/ui/toast'

/** Questions whose answers come when one says so. */
function slow() {
  const answers: { give: (text: string) => void; refuse: (error: Error) => void }[] = []
  return { answers, ask: () => new Promise<string>((give, refuse) => answers.push({ give, refuse })) }
}

describe('what is asked for more than once', () => {
  it('is never replaced by an older answer', async () => {
    const { answers, ask } = slow()
    const told: string[] = []
    const { load } = latest(ask, (text) => told.push(text), (e) => told.push(`error: ${(e as Error).message}`))
    const asked = [load(), load(), load(), load()]
    answers[0].give('first')
    await asked[0]
    answers[2].give('third')
    await asked[2]
    answers[1].give('second, late')
    await asked[1]
    answers[3].refuse(new Error('gone'))
    await asked[3]
    expect(told).toEqual(['first', 'third', 'error: gone'])
    const [again, last] = [load(), load()]
    answers[5].give('last')
    await last
    answers[4].refuse(new Error('late'))
    await again
    expect(told.at(-1)).toBe('last')
  })
  it('is forgotten with what it was about', async () => {
    const { answers, ask } = slow()
    const told: string[] = []
    const { load, forget } = latest(ask, (text) => told.push(text))
    const old = load()
    forget()
    const now = load()
    answers[0].give('of another')
    answers[1].give('of this')
    await Promise.all([old, now])
    expect(told).toEqual(['of this'])
  })
})

describe('a short message', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => (toasts.splice(0), vi.useRealTimers()))
  const offer = { label: 'Undo', run: () => undefined }

  it('goes by itself, later when it offers something', () => {
    say('done')
    say('deleted', { offer })
    say('failed', { tone: 'bad', error: new Error('no') })
    vi.advanceTimersByTime(4001)
    expect(toasts.map((t) => t.text)).toEqual(['deleted', 'failed'])
    vi.advanceTimersByTime(8000)
    expect(toasts.map((t) => t.text)).toEqual(['failed'])
  })
  it('stays while somebody is at it, and then has its whole time', () => {
    say('deleted', { offer })
    const { id } = toasts[0]
    vi.advanceTimersByTime(11_000)
    hold(id)
    vi.advanceTimersByTime(60_000)
    expect(toasts).toHaveLength(1)
    release(id)
    vi.advanceTimersByTime(11_999)
    expect(toasts).toHaveLength(1)
    vi.advanceTimersByTime(1)
    expect(toasts).toHaveLength(0)
    release(id)
    dismiss(id)
    expect(vi.getTimerCount()).toBe(0)
  })
})
