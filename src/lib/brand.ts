declare const brand: unique symbol;

/** A type that no plain value satisfies by accident; made by one function, named beside the type. */
export type Brand<Base, Name extends string> = Base & { readonly [brand]: Name };
