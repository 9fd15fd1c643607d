package tenancy

// The actions of the node: they are done by accounts of the first tenant, which operates it, for all tenants.
const (
	CreateTenant    Action = "k3fs:CreateTenant"
	ListTenants     Action = "k3fs:ListTenants"
	GetTenant       Action = "k3fs:GetTenant"
	UpdateTenant    Action = "k3fs:UpdateTenant" // suspend and resume
	DeleteTenant    Action = "k3fs:DeleteTenant"
	PutTenantQuota  Action = "k3fs:PutTenantQuota"
	PutRetentionCap Action = "k3fs:PutRetentionCap" // the longest for which a tenant may lock data
	GetNode         Action = "k3fs:GetNode"
	ConfirmClock    Action = "k3fs:ConfirmClock"
	Maintain        Action = "k3fs:Maintain"
	RotateNodeKeys  Action = "k3fs:RotateNodeKeys"
)

// The actions of who mounts: that users of the host act as another account there, and that root is root (not squashed).
const (
	MountAs     Action = "k3fs:MountAs"
	MountAsRoot Action = "k3fs:MountAsRoot"
)

// The actions of a tenant on what is its own.
const (
	CreateAccount   Action = "k3fs:CreateAccount"
	ListAccounts    Action = "k3fs:ListAccounts"
	GetAccount      Action = "k3fs:GetAccount"
	UpdateAccount   Action = "k3fs:UpdateAccount"
	DeleteAccount   Action = "k3fs:DeleteAccount"
	CreateAccessKey Action = "k3fs:CreateAccessKey"
	ListAccessKeys  Action = "k3fs:ListAccessKeys"
	UpdateAccessKey Action = "k3fs:UpdateAccessKey"
	DeleteAccessKey Action = "k3fs:DeleteAccessKey"
	PutPolicy       Action = "k3fs:PutPolicy"
	GetPolicy       Action = "k3fs:GetPolicy"
	ListPolicies    Action = "k3fs:ListPolicies"
	DeletePolicy    Action = "k3fs:DeletePolicy"
	AttachPolicy    Action = "k3fs:AttachPolicy"
	GetUsage        Action = "k3fs:GetUsage"
	GetQuota        Action = "k3fs:GetQuota"
	PutQuota        Action = "k3fs:PutQuota"
	RotateTenantKey Action = "k3fs:RotateTenantKey"
	ListMounts      Action = "k3fs:ListMounts"
	EndMount        Action = "k3fs:EndMount"
	ListSessions    Action = "k3fs:ListSessions"
	EndSession      Action = "k3fs:EndSession"
	ListShares      Action = "k3fs:ListShares"
	RevokeShare     Action = "k3fs:RevokeShare"
)
