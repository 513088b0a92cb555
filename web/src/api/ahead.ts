// What is asked for before the application has come. Knows no library; an answer is taken once, by whoever asks for the same.
const answers = new Map<string, Promise<Response>>()

export const languageHeader = (lang: string): Record<string, string> => ({ 'x-yunion-lang': lang === 'zh-CN' ? 'zh_CN' : 'en_US' })
export function ahead(path: string, lang: string) {
  const answer = fetch(`/api${path}`, { headers: languageHeader(lang), credentials: 'same-origin' })
  // Nobody may come for it; a failure is told to who does.
  answer.catch(() => undefined)
  answers.set(path, answer)
}
export function taken(path: string): Promise<Response> | undefined {
  const answer = answers.get(path)
  answers.delete(path)
  return answer
}
