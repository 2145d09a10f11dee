/** Headers by their names in lower case; one that came twice is a list, and fits no form. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>
