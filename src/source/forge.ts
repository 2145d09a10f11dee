/** A service that hosts repositories, sends webhooks and shows commit statuses. */
export const forges = ['github', 'gitlab', 'gitea'] as const
export type Forge = (typeof forges)[number]

/** Where a forge's HTTP interface is when nothing else is said, by the host of its repositories. */
export function standardApi(forge: Forge, host: string): string {
  switch (forge) {
    case 'github':
      return host === 'github.com' ? 'https://api.github.com' : `https://${host}/api/v3`
    case 'gitlab':
      return `https://${host}/api/v4`
    case 'gitea':
      return `https://${host}/api/v1`
  }
}
