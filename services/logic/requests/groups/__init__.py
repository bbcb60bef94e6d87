"""What is asked about groups without changing them: what is known of one, its members, what lies beside them."""
