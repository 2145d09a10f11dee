import { createHmac } from 'node:crypto'
import type { Forge } from '../../src/source/forge.ts'

/** Payloads with the fields and the nesting that the forges document; names and ids are made up. */
export type Push = {
  ref?: string
  before?: string
  after?: string
  /** `<host>/<owner>/<name>`, of which the addresses are made. */
  place?: string
  forced?: boolean
}

export const commitA = 'a'.repeat(40)
export const commitB = 'b'.repeat(40)
export const noCommit = '0'.repeat(40)

export function githubPush({
  ref = 'refs/heads/main',
  before = commitA,
  after = commitB,
  place = 'github.com/acme/shop',
  forced = false,
}: Push = {}) {
  const [host = '', owner = '', name = ''] = place.split('/')
  const deleted = after === noCommit
  const person = { name: 'Ada Example', email: 'ada@example.org', username: 'ada' }
  const account = {
    login: owner,
    id: 5_550_001,
    node_id: 'MDQ6VXNlcjU1NTAwMDE=',
    type: 'Organization',
    site_admin: false,
    url: `https://api.${host}/users/${owner}`,
    html_url: `https://${host}/${owner}`,
  }
  const head = {
    id: after,
    tree_id: 'c'.repeat(40),
    distinct: true,
    message: 'Make the greeting friendlier',
    timestamp: '2026-11-21T09:00:00+01:00',
    url: `https://${host}/${owner}/${name}/commit/${after}`,
    author: person,
    committer: person,
    added: [],
    removed: [],
    modified: ['message.txt'],
  }
  return {
    ref,
    before,
    after,
    repository: {
      id: 880_001,
      node_id: 'R_kgDOAAAAAA',
      name,
      full_name: `${owner}/${name}`,
      private: true,
      owner: { name: owner, ...account },
      html_url: `https://${host}/${owner}/${name}`,
      description: null,
      fork: false,
      url: `https://${host}/${owner}/${name}`,
      created_at: 1_763_700_000,
      pushed_at: 1_763_712_000,
      git_url: `git://${host}/${owner}/${name}.git`,
      ssh_url: `git@${host}:${owner}/${name}.git`,
      clone_url: `https://${host}/${owner}/${name}.git`,
      default_branch: 'main',
      master_branch: 'main',
      visibility: 'private',
    },
    pusher: { name: 'ada', email: 'ada@example.org' },
    organization: { login: owner, id: 5_550_001 },
    sender: { ...account, login: 'ada', type: 'User' },
    created: before === noCommit,
    deleted,
    forced,
    base_ref: null,
    compare: `https://${host}/${owner}/${name}/compare/${before.slice(0, 12)}...${after.slice(0, 12)}`,
    commits: deleted ? [] : [head],
    head_commit: deleted ? null : head,
  }
}

export function githubPing() {
  const { repository, sender } = githubPush()
  return {
    zen: 'Keep it logically awesome.',
    hook_id: 70_001,
    hook: {
      type: 'Repository',
      id: 70_001,
      name: 'web',
      active: true,
      events: ['push'],
      config: { content_type: 'json', insecure_ssl: '0', secret: '********', url: 'https://x' },
    },
    repository,
    sender,
  }
}

export function gitlabPush({
  ref = 'refs/heads/main',
  before = commitA,
  after = commitB,
  place = 'gitlab.com/acme/shop',
}: Push = {}) {
  const [host = '', owner = '', name = ''] = place.split('/')
  const kind = ref.startsWith('refs/tags/') ? 'tag_push' : 'push'
  const deleted = after === noCommit
  const [web, http] = [`https://${host}/${owner}/${name}`, `https://${host}/${owner}/${name}.git`]
  const ssh = `git@${host}:${owner}/${name}.git`
  return {
    object_kind: kind,
    event_name: kind,
    before,
    after,
    ref,
    ref_protected: true,
    checkout_sha: deleted ? null : after,
    user_id: 41,
    user_name: 'Ada Example',
    user_username: 'ada',
    user_email: '',
    user_avatar: null,
    project_id: 1501,
    project: {
      id: 1501,
      name: 'Shop',
      description: '',
      web_url: web,
      avatar_url: null,
      git_ssh_url: ssh,
      git_http_url: http,
      namespace: 'Acme',
      visibility_level: 0,
      path_with_namespace: `${owner}/${name}`,
      default_branch: 'main',
      homepage: web,
      url: ssh,
      ssh_url: ssh,
      http_url: http,
    },
    commits: deleted
      ? []
      : [
          {
            id: after,
            message: 'Make the greeting friendlier\n',
            title: 'Make the greeting friendlier',
            timestamp: '2026-11-21T09:00:00+01:00',
            url: `${web}/-/commit/${after}`,
            author: { name: 'Ada Example', email: 'ada@example.org' },
            added: [],
            modified: ['message.txt'],
            removed: [],
          },
        ],
    total_commits_count: deleted ? 0 : 1,
    push_options: {},
    repository: {
      name: 'Shop',
      url: ssh,
      description: '',
      homepage: web,
      git_http_url: http,
      git_ssh_url: ssh,
      visibility_level: 0,
    },
  }
}

export function giteaPush({
  ref = 'refs/heads/main',
  before = commitA,
  after = commitB,
  place = 'git.example.org/acme/shop',
}: Push = {}) {
  const [host = '', owner = '', name = ''] = place.split('/')
  const user = {
    id: 3,
    login: 'ada',
    login_name: '',
    full_name: 'Ada Example',
    email: 'ada@example.org',
    avatar_url: `https://${host}/avatars/x`,
    username: 'ada',
  }
  const web = `https://${host}/${owner}/${name}`
  const head = {
    id: after,
    message: 'Make the greeting friendlier\n',
    url: `${web}/commit/${after}`,
    author: { name: 'Ada Example', email: 'ada@example.org', username: 'ada' },
    committer: { name: 'Ada Example', email: 'ada@example.org', username: 'ada' },
    verification: null,
    timestamp: '2026-11-21T09:00:00+01:00',
    added: null,
    removed: null,
    modified: null,
  }
  return {
    ref,
    before,
    after,
    compare_url: `${web}/compare/${before}...${after}`,
    commits: [head],
    total_commits: 1,
    head_commit: head,
    repository: {
      id: 12,
      owner: { ...user, login: owner, username: owner },
      name,
      full_name: `${owner}/${name}`,
      description: '',
      empty: false,
      private: true,
      fork: false,
      template: false,
      mirror: false,
      size: 32,
      html_url: web,
      ssh_url: `git@${host}:${owner}/${name}.git`,
      clone_url: `${web}.git`,
      original_url: '',
      default_branch: 'main',
      archived: false,
      permissions: { admin: true, push: true, pull: true },
      internal: false,
    },
    pusher: user,
    sender: user,
  }
}

/** The headers that a forge sends with a body. */
export function webhookHeaders(
  forge: Forge,
  { body, secret, id, event }: { body: string; secret: string; id: string; event?: string },
): Record<string, string> {
  const hex = createHmac('sha256', secret).update(body).digest('hex')
  const json = { 'content-type': 'application/json' }
  switch (forge) {
    case 'github':
      return {
        ...json,
        'user-agent': 'GitHub-Hookshot/044aadd',
        'x-github-event': event ?? 'push',
        'x-github-delivery': id,
        'x-github-hook-id': '70001',
        'x-hub-signature-256': `sha256=${hex}`,
      }
    case 'gitlab':
      return {
        ...json,
        'user-agent': 'GitLab/18.5.0',
        'x-gitlab-event': event ?? 'Push Hook',
        'x-gitlab-event-uuid': id,
        'x-gitlab-token': secret,
      }
    case 'gitea':
      return {
        ...json,
        'x-gitea-event': event ?? 'push',
        'x-gitea-event-type': event ?? 'push',
        'x-gitea-delivery': id,
        'x-gitea-signature': hex,
        'x-hub-signature-256': `sha256=${hex}`,
        'x-github-event': event ?? 'push',
        'x-github-delivery': id,
      }
  }
}
