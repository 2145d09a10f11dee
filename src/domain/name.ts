import { KilnError } from './error.ts'

/** An app's or an environment's own name: a DNS label, at most 40 characters. */
const label = /^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$/

export function isLabel(text: string): boolean {
  return label.test(text)
}

/** `<app>/<environment>`, for example `hello/prod`. */
export type EnvironmentName = `${string}/${string}`

export function environmentName(app: string, environment: string): EnvironmentName {
  if (!isLabel(app)) throw new KilnError('invalid_input', `not an app name: ${JSON.stringify(app)}`)
  if (!isLabel(environment)) {
    throw new KilnError('invalid_input', `not an environment name: ${JSON.stringify(environment)}`)
  }
  return `${app}/${environment}`
}

export function parseEnvironmentName(text: string): {
  app: string
  environment: string
  name: EnvironmentName
} {
  const [app = '', environment = '', ...rest] = text.split('/')
  if (rest.length > 0 || !isLabel(app) || !isLabel(environment)) {
    throw new KilnError('invalid_input', `not an environment: ${JSON.stringify(text)}`, {
      fix: 'write it as <app>/<environment>, for example hello/prod',
    })
  }
  return { app, environment, name: `${app}/${environment}` }
}
