export { type AwsKmsSourceDeps, openAwsKmsSource } from './open-aws-kms-source.ts'
export { AwsKmsSourceOptions } from './options.ts'
