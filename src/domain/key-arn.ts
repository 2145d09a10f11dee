/** The ARN of one key in AWS's KMS, its region in the first group. No alias: what that stands for may change. */
export const keyArn = /^arn:aws[a-z-]*:kms:([a-z0-9-]{1,40}):[0-9]{12}:key\/[A-Za-z0-9-]{1,64}$/
