export function parseDockerfile(_text: string, _options: { place: string }): void {}
