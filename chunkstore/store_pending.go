package chunkstore

type Store struct{}
